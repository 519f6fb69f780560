"""Create a tiny model with random weights in Hugging Face's format, for a real vLLM on a CPU. Downloads nothing.

Run it with the Python of vLLM's environment, which has torch, transformers and tokenizers.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import tiny
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM


def create_tokenizer() -> PreTrainedTokenizerFast:
    tokens, merges = tiny.vocabulary()
    bpe = Tokenizer(models.BPE(vocab={text: number for number, text in enumerate(tokens)}, merges=merges))
    bpe.add_special_tokens(list(tiny.SPECIALS))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=None,
        eos_token=tiny.END_OF_TURN,
        pad_token=tiny.PADDING,
        unk_token=tiny.START,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = tiny.CHAT_TEMPLATE
    return tokenizer


def create(name: str, folder: Path) -> int:
    """Write the model and its tokenizer to a folder; return the number of parameters."""
    torch.manual_seed(0)
    shape, tokenizer = tiny.SHAPES[name], create_tokenizer()
    if name == "thinker":
        tokenizer.add_tokens(list(tiny.THINK_TOKENS))
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=tiny.CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config).to(torch.bfloat16).eval()
    if name == "thinker":
        with torch.no_grad():
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(tiny.THINK_TOKENS[1])] *= tiny.END_OF_THINKING_WEIGHT
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    tokenizer.save_pretrained(folder)
    make_loadable_by_transformers_4(folder)
    model.save_pretrained(folder)
    return sum(weights.numel() for weights in model.parameters())


def make_loadable_by_transformers_4(folder: Path) -> None:
    """Replace the tokenizer class written by transformers 5, which version 4 (used by older vLLMs) cannot load."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": tiny.CHAT_TEMPLATE}
    settings.pop("backend", None)
    path.write_text(json.dumps(settings, indent=1), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("shape", choices=sorted(tiny.SHAPES))
    parser.add_argument("folder", type=Path, help="output folder")
    options = parser.parse_args()
    parameters = create(options.shape, options.folder)
    print(f"{options.shape}: {parameters / 1e6:.1f} M parameters in {options.folder}")


if __name__ == "__main__":
    main()
