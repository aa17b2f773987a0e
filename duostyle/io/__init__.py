"""Reading and writing pictures and videos, and converting their pixels."""
