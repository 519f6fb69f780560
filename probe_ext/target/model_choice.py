"""Which of the listed models can answer a chat: lists hold embedding, reranking, speech and image models as well."""

import re
from collections.abc import Mapping
from typing import Any

_KIND_KEYS = ("type", "model_type", "mode", "task", "pipeline_tag", "kind", "category", "family", "model_family")
_OTHER_KIND = re.compile(
    r"embed|rerank|classif|reward|score|pooling|feature.?extraction|sentence.?similarity|moderation|transcri|speech"
    r"|^(?:nomic-)?bert$|audio|whisper|\basr\b|\btts\b|image|video|diffusion|ocr|segmentation|detection|guard",
    re.IGNORECASE,
)
_CHAT_KIND = re.compile(
    r"chat|llm|vlm|text.?generation|image.?text.?to.?text|completion|generate|conversation|language"
)
_OTHER_NAME = re.compile(
    r"embed|rerank|cross-encoder|whisper|\btts\b|text-to-speech|speech-to|\basr\b|parakeet|canary-|kokoro|piper-|bark\b"
    r"|moderation|dall-?e|gpt-image|stable-?diffusion|sdxl|\bsd-?[0-9]|\bflux\b|\bclip\b|siglip|\bblip\b|colbert|colpali"
    r"|\bbge\b|\be5\b|\bgte\b|minilm|mpnet|sentence-t|splade|nomic-bert|jina-clip|reward|-prm\b|\bimagen\b|\bveo\b|sora"
    r"|\bvoyage-|-image\b|\bimage-(?:edit|gen)|\b[ti]2[vi]\b|wav2vec|seamless|musicgen|llama-?guard|shieldgemma|prompt-?guard|transcri|realtime|\bocr\b",
    re.IGNORECASE,
)
_ABILITY_KEYS = (
    *("capabilities", "supported_endpoint_types", "supported_endpoints", "endpoints", "supported_generation_methods"),
    *("supportedGenerationMethods", "tasks", "supported_tasks", "tags"),
)
_NESTED_KEYS = ("model_info", "details", "info", "meta", "metadata")
_CHAT_ABILITIES = ("completion_chat", "chat_completion", "chat_completions", "chat", "completion", "text_generation")


def can_chat(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of `/v1/models` looks like a model that generates text: by what it says, else by name."""
    chats = _by_kind(entry)
    for key in _ABILITY_KEYS:
        chats = _by_abilities(entry.get(key)) if chats is None else chats
    for key in _NESTED_KEYS:
        nested = entry.get(key)
        chats = _by_kind(nested) if chats is None and isinstance(nested, Mapping) else chats
    chats = _by_modalities(entry.get("architecture")) if chats is None else chats
    return not _OTHER_NAME.search(str(entry.get("id", "")).replace("_", "-")) if chats is None else chats


def _by_kind(entry: Mapping[str, Any]) -> bool | None:
    for key in _KIND_KEYS:
        kind = entry.get(key)
        if isinstance(kind, str):
            if _CHAT_KIND.search(kind.lower()):
                return True
            if _OTHER_KIND.search(kind):
                return False
    return None


def _by_abilities(abilities: object) -> bool | None:
    """Some servers list abilities, some say of each whether the model has it."""
    if isinstance(abilities, Mapping):
        known = [abilities[name] for name in _CHAT_ABILITIES if isinstance(abilities.get(name), bool)]
        return any(known) if known else None
    if not isinstance(abilities, list) or not abilities:
        return None
    names = [str(ability).lower() for ability in abilities]
    if any(_CHAT_KIND.search(name) for name in names):
        return True
    return False if all(_OTHER_KIND.search(name) for name in names) else None


def _by_modalities(architecture: object) -> bool | None:
    if not isinstance(architecture, Mapping):
        return None
    made = architecture.get("output_modalities")
    return "text" in made if isinstance(made, list) and made else None
