"""Load and save networks as model repositories of the Hugging Face Hub."""

from pathlib import Path
from typing import Self

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download

WEIGHTS = "model.safetensors"  # a checkpoint as `save_checkpoint` writes it, header included


class CheckpointHubMixin(PyTorchModelHubMixin):
    """`from_pretrained`, `save_pretrained` and `push_to_hub` for a `StyleNetwork`.

    A repository or folder holds the checkpoint as `model.safetensors`. The mixin adds `config.json`
    and a model card for the Hub; loading reads the checkpoint's own header only.
    """

    def _save_pretrained(self, save_directory: Path) -> None:
        from duostyle.models.checkpoint import save_checkpoint
        from duostyle.models.network import StyleNetwork

        assert isinstance(self, StyleNetwork)
        save_checkpoint(save_directory / WEIGHTS, self, self.header)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        strict: bool = True,
        **model_kwargs: object,
    ) -> Self:
        """Load from a folder or a repository. Raises CheckpointError as `load_checkpoint`."""
        from duostyle.models.checkpoint import load_checkpoint

        path = Path(model_id) / WEIGHTS
        if not Path(model_id).is_dir():
            path = Path(
                hf_hub_download(
                    model_id,
                    WEIGHTS,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        network = load_checkpoint(path, map_location)
        assert isinstance(network, cls)
        return network
