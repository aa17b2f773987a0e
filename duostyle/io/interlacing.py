"""Interlaced pictures made whole."""

from collections.abc import Iterator

import av


class Deinterlacer:
    """FFmpeg's `bwdif` from the first interlaced frame on; progressive ones pass as they are.

    Frames come out with the time stamps that they went in with, one of them later.
    """

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._kind: tuple[int, int, str] | None = None

    def __call__(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Take a frame with its time stamp and time base, None after the last one."""
        kind = frame and (frame.width, frame.height, frame.format.name)
        if self._graph and kind != self._kind:
            self._graph.push(None)
            yield from self._drain(self._graph)
            self._graph = None
        if frame and not self._graph and frame.interlaced_frame:
            self._graph, self._kind = _bwdif(frame), kind
        if frame and self._graph:
            self._graph.push(frame)
            yield from self._drain(self._graph)
        elif frame:
            yield frame

    @staticmethod
    def _drain(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
        while True:
            try:
                yield graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return


def _bwdif(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    begin = graph.add_buffer(template=frame, time_base=frame.time_base)
    graph.link_nodes(
        begin, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    ).configure()
    return graph
