"""``python -m synth.models.embedded.convert``: a GGUF file as a checkpoint that transformers can train.

The weights are those of the GGUF file, de-quantized to bfloat16; its tokenizer and chat template are kept.
"""

import argparse
from pathlib import Path


def convert(gguf: Path, checkpoint: Path) -> None:
    """Write the checkpoint folder. Without `dequantize` the model loads but cannot be saved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=file,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        local_files_only=True,
    )
    model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    options = parser.parse_args()
    convert(options.gguf, options.checkpoint)
