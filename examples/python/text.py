"""A text model: strings in, strings out.

    oip serve examples/python/text.py --auth-enabled false
    curl -s localhost:8082/v2/models/language/infer -d '{
      "inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["the cat", "die Katze"]}]}'
"""

import oip

WORDS = {
    "en": {"the", "a", "is", "and", "of", "cat"},
    "de": {"der", "die", "das", "und", "ist", "katze"},
    "fr": {"le", "la", "les", "et", "est", "chat"},
}


@oip.model("language", outputs=[("language", "BYTES", [-1]), ("words", "INT64", [-1])])
def language(text: list[str]) -> dict[str, list[object]]:
    """Which language a text is in. Types and shape of the input come from its annotation."""
    found: list[object] = []
    for one in text:
        words = set(one.lower().split())
        found.append(max(WORDS, key=lambda name: len(words & WORDS[name])))
    return {"language": found, "words": [len(one.split()) for one in text]}
