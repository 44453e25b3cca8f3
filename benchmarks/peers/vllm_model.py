"""A Hugging Face folder from a GGUF: python vllm_model.py GGUF FOLDER, in the environment that has vLLM."""

import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint


def main() -> None:
    """Write config, weights (dequantised, bf16), tokenizer and template."""
    gguf, folder = map(Path, sys.argv[1:])
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_config(config)
    tensors = load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if unexpected or set(missing) - tied:
        raise SystemExit(f"{gguf.name} doesn't fit its configuration: {missing} {unexpected}")
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    for name in ("bos", "eos", "pad"):  # of which transformers forgets the names on its way from a GGUF
        setattr(
            tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(getattr(config, f"{name}_token_id"))
        )
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
