"""The words that questions from captions turn on: lists of words, and what WordNet says of a word."""

from captioning.text.wordnet import base_form, domain, is_a, uses


def _of(words: str) -> frozenset[str]:
    return frozenset(words.split())


COLOURS = _of("red orange yellow green blue purple pink brown black white gray grey")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = dict(zip("23456789", NUMBERS, strict=False)) | {"10": "ten"}
OF_ONE = _of("a an one this another each")  # what follows is singular
ARTICLES = _of("a an the some one this several many both")
POSSESSIVES = _of("his her its their")
BE = _of("is are")
PREPOSITIONS = _of(
    "in on at by near with of from over under behind beside through across along into down up off around next inside "
    "outside against toward towards between during while and as that who which to for above below past onto out"
)
# After a verb, these ask on: "what is the man standing next to".
ASK_ON = (
    *(("on", "top", "of"), ("in", "front", "of"), ("next", "to"), ("out", "of"), ("away", "from")),
    *((word,) for word in ("on", "over", "under", "through", "into", "with", "off", "from", "behind", "across")),
    *((word,) for word in ("along", "down", "up", "around", "against", "towards", "toward", "by", "onto", "near")),
    *((word,) for word in ("beside", "above", "past", "at")),
)
AT = _of("look stare gaze sit bark point aim snap sniff smile lunge glance paw work")  # of these, "what … at"
# Between an object and the end of a question: "what is the man riding down the street".
BEHIND = _of("on in at down through over up near along across into off under around beside behind")
OBJECTS = ("animal", "artifact", "food", "object", "plant", "possession", "shape")
MATTER = _of("water snow sand grass mud dirt wave waves hay ice log logs")  # WordNet: no object, no place
PLACES = ("artifact", "location", "object")
NO_PLACE = _of("sun mirror shade rain wind light dark position pose circle square formation")
VAGUE = _of(
    "top front side back middle background foreground bunch group pair couple picture pictures photo photos photograph "
    "image view color colors air part row lot line lines piece area day way ways time number end something thing "
    "things it them another other ground edge corner center centre scene spot place direction set type kind style "
    "motion distance surface object objects item items stunt trick tricks turn ones one left right half variety "
    "collection amount look bit shot point size front jump dive rest action"
)
COLLECTIVES = _of("group couple pair bunch crowd team number trio line row herd flock")
PEOPLE = _of(
    "man men woman women boy boys girl girls child children person people guy guys lady ladies kid kids male males "
    "female females baby babies toddler toddlers adult adults teenager teenagers teen teens couple someone crowd "
    "player players friend friends team climber climbers"
)
UNITS = _of(
    "year years way hour hours minute minutes day days inch inches foot feet different other more wheel wheels wheeled "
    "story legs level piece"
)
CLOTHES = _of(
    "shirt shirts dress dresses hat hats suit suits jacket jackets coat coats uniform uniforms costume costumes jersey "
    "jerseys outfit outfits helmet helmets cap swimsuit bikini bikinis shorts jeans sweater sweatshirt vest vests "
    "hoodie gear clothing clothes robe robes skirt pants trunks overalls glasses sunglasses goggles tie scarf gloves "
    "mask apron kimono tutu bathing wetsuit tank top headscarf turban wig boots shoes sandals swimsuits leotard "
    "poncho raincoat backpack bandana headband jumpsuit sari tuxedo gown blouse tights leggings pajamas"
)
HELD = _of("hand mouth hands lap arms")
ALWAYS_PLURAL = _of(
    "shorts jeans pants trunks overalls glasses sunglasses goggles skis tights pajamas scissors clothes"
)
NO_HEADS = COLOURS | _of("light dark young old blond blonde small little big large short tall wet dry female male")
IN_ING = _of(
    "building buildings ring rings swing swings railing railings clothing string strings wing wings ceiling painting "
    "paintings awning earring earrings crossing wedding sling"
)  # nouns, beside the verbs' forms
OF_PARTS = ("haired", "eyed", "skinned", "faced", "striped", "checkered", "spotted", "clad", "colored", "tipped")


def is_noun(word: str) -> bool:
    """True for a word that is mostly a noun."""
    if not word.isalpha() or word in PREPOSITIONS or word in ARTICLES or base_form(word, "n") is None:
        return False
    if word in ALWAYS_PLURAL or word in IN_ING:
        return True
    if word in NO_HEADS:
        return False
    most = uses(word, "n")
    return most >= uses(word, "v") and most >= uses(word, "a") and not word.endswith("ing")


def is_plural(word: str) -> bool:
    """True for a noun's plural."""
    base = base_form(word, "n")
    return word in ALWAYS_PLURAL or (base is not None and base != word) or word in ("people", "children", "men")


def is_person(word: str) -> bool:
    """True for a noun that names people."""
    return word in PEOPLE or domain(word) in ("person", "group")


def is_clothing(word: str) -> bool:
    """True for a noun that names what people wear."""
    return word in CLOTHES or is_a(word, "clothing.n.01")


def is_participle(word: str) -> bool:
    """True for a verb's form in -ing."""
    return word.endswith("ing") and word not in IN_ING and base_form(word, "v") not in (None, word)


def is_finite(word: str, plural: bool) -> bool:
    """True for a verb in the present, of a plural or a singular subject."""
    base = base_form(word, "v")
    if base is None or not word.isalpha() or word in BE or word in PREPOSITIONS or base in ("be", "have", "do"):
        return False
    if uses(word, "n") > uses(word, "v"):
        return False
    return base == word if plural else base != word and word.endswith("s")


def names_an_object(word: str) -> bool:
    """True for a noun of the meanings that answers about objects have."""
    return word not in VAGUE and not is_person(word) and (domain(word) in OBJECTS or word in MATTER)


def names_a_place(word: str) -> bool:
    """True for a noun that one can be in."""
    if word in VAGUE or word in NO_PLACE or word in HELD or is_clothing(word) or is_plural(word) or is_person(word):
        return False
    return domain(word) in PLACES or word in MATTER
