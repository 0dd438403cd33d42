"""Small edits of a question: noise that keeps the answer, swaps that change it.

`noise` is drawn for pairs of either label alike, so that it carries no hint.
`keep` makes a closely worded question with the same answer; `turn` makes one
with another answer; `renames` finds things (numbers, months, places) that can
be replaced on one side (another answer) or on both (the same answer), and
`sister` does so for common words.
"""

import os
import re

PREFIXES = """hi, |hello, |hey, |hey there, |good morning. |please help: |quick question: |question: |just wondering, |
can you tell me: |could you tell me, |help! |hi team, |ok so |so, |um, |sorry to bother you, |i was wondering: |one thing: |
pls help, |dear support, |i need to know: |curious: |not sure who to ask, |please advise: |tell me, |hoping you can help. |
thanks in advance. |hey guys, |yo |well, |alright, |hello there! |""".replace("\n", "").split("|")[:-1]
SUFFIXES = """ thanks| thanks!| please| pls| thx| please?| many thanks| thank you| cheers| thanks in advance| any idea?| any help appreciated|
 appreciate it| asap| :)| help| ty| Please let me know.| Thanks a lot!| Kind regards| I can't find it anywhere.| Just asking.| I'd love to know.""".replace("\n", "").split("|")

KEYS = {"a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk", "k": "jl",
        "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb",
        "w": "qe", "x": "zc", "y": "tu", "z": "x"}

SHORT = [("you", "u"), ("your", "ur"), ("are", "r"), ("please", "pls"), ("because", "bc"), ("without", "w/o"), ("with", "w/"),
         ("and", "&"), ("what", "wat"), ("how", "hw"), ("to", "2"), ("for", "4"), ("through", "thru"), ("though", "tho"),
         ("before", "b4"), ("people", "ppl"), ("account", "acct"), ("message", "msg"), ("minutes", "mins"), ("information", "info"),
         ("want to", "wanna"), ("going to", "gonna"), ("have to", "gotta"), ("do not know", "dunno"), ("why", "y"), ("tomorrow", "tmrw")]


def typo(r, s):
    """One slip of the keyboard inside a word of five letters or more."""
    spots = [m for m in re.finditer(r"[A-Za-z]{5,}", s)]
    if not spots:
        return s
    m = r.choice(spots)
    w, i = m.group(), r.randrange(1, len(m.group()) - 2)
    how = r.randrange(4)
    if how == 0:
        w = w[:i] + w[i + 1] + w[i] + w[i + 2:]
    elif how == 1:
        w = w[:i] + w[i + 1:]
    elif how == 2:
        w = w[:i] + w[i] + w[i:]
    else:
        w = w[:i] + r.choice(KEYS.get(w[i].lower(), w[i])) + w[i + 1:]
    return s[: m.start()] + w + s[m.end():]


def noise(r, s):
    """Surface noise that never changes the answer: case, punctuation, politeness, slips."""
    if r.random() < 0.10:
        s = r.choice(PREFIXES) + (s[:1].lower() + s[1:] if r.random() < 0.6 and s[1:2].islower() else s)
    if r.random() < 0.06:
        s = s.rstrip() + r.choice(SUFFIXES)
    if r.random() < 0.12:
        s = s.lower()
    elif r.random() < 0.02:
        s = s.upper()
    if r.random() < 0.15:
        s = s.rstrip("?.! ")
    elif r.random() < 0.03:
        s = s.rstrip("?.! ") + r.choice(["??", " ?", "?!", "...", "???", "."])
    if r.random() < 0.04:
        a, b = r.choice(SHORT)
        s = re.sub(rf"(?i)\b{a}\b", b, s, count=1)
    while r.random() < 0.10:
        s = typo(r, s)
    if r.random() < 0.03:
        s = s.replace(",", "").replace("'", "")
    return s


CONTRACT = [("what is", "what's"), ("how is", "how's"), ("where is", "where's"), ("do not", "don't"), ("does not", "doesn't"),
            ("cannot", "can't"), ("is not", "isn't"), ("I am", "I'm"), ("I have", "I've"), ("it is", "it's"), ("will not", "won't"),
            ("who is", "who's"), ("I would", "I'd"), ("are not", "aren't"), ("did not", "didn't"), ("you are", "you're"), ("that is", "that's")]
ASKS = ["How do I", "How can I", "How do you", "How would I", "How could I", "What is the way to", "What's the way to", "How to",
        "What do I have to do to", "What do I need to do to", "What steps do I take to", "How should I go about it to", "In what way can I",
        "I want to know how to", "Tell me how to", "Show me how to", "Explain how to", "Could you explain how to", "What is the procedure to",
        "Is there a way for me to", "Help me", "How does one", "What's the method to", "I need to", "Which steps let me", "how 2"]
ASK = re.compile(r"^(how (do|can|would|could) (i|you|we)|how to|what(?:'s| is) the way to|how does one)\b", re.I)
SAME = [("buy", "purchase"), ("cell phone", "mobile phone"), ("film", "movie"), ("fix", "repair"), ("allowed", "permitted"),
        ("permitted", "allowed"), ("need", "require"), ("begin", "start"), ("start", "begin"), ("illness", "sickness"), ("kids", "children"),
        ("children", "kids"), ("big", "large"), ("large", "big"), ("little", "small"), ("fast", "quick"), ("quickly", "fast"), ("get", "obtain"),
        ("obtain", "get"), ("choose", "pick"), ("pick", "choose"), ("delete", "erase"), ("error", "fault"), ("pay for", "cover"), ("reply", "answer"),
        ("assist", "help"), ("help", "assist"), ("difference between", "distinction between"), ("kind of", "type of"), ("type of", "sort of"),
        ("sofa", "couch"), ("car", "automobile"), ("physician", "doctor"), ("doctor", "physician"), ("attorney", "lawyer"), ("lawyer", "attorney"),
        ("photo", "picture"), ("picture", "photo"), ("e-mail", "email"), ("email", "e-mail"), ("wifi", "Wi-Fi"), ("Wi-Fi", "wifi"),
        ("laptop", "notebook computer"), ("store", "shop"), ("shop", "store"), ("apartment", "flat"), ("flat", "apartment"), ("holiday", "vacation"),
        ("vacation", "holiday"), ("autumn", "fall season"), ("colour", "color"), ("color", "colour"), ("favourite", "favorite"), ("cancelled", "canceled"),
        ("organise", "organize"), ("organize", "organise"), ("centre", "center"), ("happen", "occur"), ("necessary", "needed"), ("required", "needed"),
        ("wife", "spouse"), ("per month", "a month"), ("per year", "a year"), ("every year", "each year"), ("every month", "each month"),
        ("every day", "daily"), ("approximately", "about"), ("maximum", "highest possible"), ("minimum", "lowest possible"), ("following", "next"),
        ("in order to", "to"), ("make sure", "ensure"), ("bike", "bicycle"), ("bicycle", "bike"), ("phone", "telephone"), ("TV", "television"),
        ("gas station", "petrol station"), ("garbage", "trash"), ("firm", "company"), ("company", "firm"), ("salary", "pay"), ("parcel", "package"),
        ("package", "parcel"), ("error message", "error"), ("show", "display"), ("close", "shut"), ("shut", "close"), ("speak", "talk")]
SOFT = ["really", "actually", "even", "honestly", "truly"]
WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
TENS = {30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety", 100: "one hundred"}


def spelled(n):
    """A whole number up to one hundred in words, or None."""
    if 0 <= n <= 20:
        return WORDS[n]
    if n in TENS:
        return TENS[n]
    if 20 < n < 100:
        tens = {20: "twenty", **TENS}[n // 10 * 10]
        return f"{tens}-{WORDS[n % 10]}"
    return None


def like(old, new):
    """`new` with a capital first letter when `old` has one."""
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def swap(s, a, b):
    return re.sub(rf"(?i)\b{re.escape(a)}(?=\W|$)", lambda m: like(m.group(), b), s, count=1)


def keep(r, s):
    """One or two light rewordings that keep the answer; None when nothing applies."""
    done = s
    options = list(range(8))
    r.shuffle(options)
    left = r.choice([1, 1, 2])
    for o in options:
        before = done
        if o == 0:
            pairs = [(a, b) for a, b in CONTRACT + [(b, a) for a, b in CONTRACT] if re.search(rf"(?i)\b{re.escape(a)}\b", done)]
            if pairs:
                done = swap(done, *r.choice(pairs))
        elif o in (1, 2):
            pairs = [(a, b) for a, b in SAME if re.search(rf"(?i)\b{re.escape(a)}\b", done)]
            if pairs:
                done = swap(done, *r.choice(pairs))
        elif o == 3 and ASK.match(done):
            new = r.choice(ASKS)
            done = ASK.sub(new, done, count=1)
            if new[0] in "ITSEH" and not new.startswith(("In", "Is", "How")):
                done = done.rstrip("?")
        elif o == 4:
            m = re.search(r"(?<![\w.:/$€£#-])\d{1,3}(?![\w.:/%-])", done)
            if m and (w := spelled(int(m.group()))):
                done = done[: m.start()] + w + done[m.end():]
        elif o == 5:
            m = re.match(r"(?i)(can|could|do|does|did|is|are|will|should|may|has|have)( \w+)? (i|you|we|they|he|she|the \w+|my \w+) ", done)
            if m and r.random() < 0.7:
                done = done[: m.end()] + r.choice(SOFT) + " " + done[m.end():]
        elif o == 6:
            m = re.search(r" (the|a|an) ", done)
            if m and r.random() < 0.5:
                done = done[: m.start()] + " " + done[m.end():]
        elif o == 7 and r.random() < 0.5:
            m = re.search(r"([A-Za-z]{4,}) (and|or) ([a-z]{4,})([?.!,]|$)", done)
            if m and m.group(1).islower():
                done = done[: m.start()] + f"{m.group(3)} {m.group(2)} {m.group(1)}" + done[m.start(4):]
        if done != before:
            left -= 1
            if left == 0:
                break
    return done if done != s else None


TURNS = """enable/disable|turn on/turn off|switch on/switch off|increase/decrease|before/after|buy/sell|open/close|with/without|first/last|cheapest/most expensive|
maximum/minimum|import/export|upload/download|send/receive|always/never|more/less|left/right|join/leave|start/stop|add/remove|
lock/unlock|install/uninstall|highest/lowest|fastest/slowest|best/worst|oldest/newest|largest/smallest|longest/shortest|incoming/outgoing|
upgrade/downgrade|encrypt/decrypt|mute/unmute|subscribe to/unsubscribe from|lend/borrow|rent/buy|hire/fire|win/lose|gain/lose|raise/lower|
create/delete|internal/external|inside/outside|above/below|public/private|paid/free|domestic/international|day/night|
morning/evening|summer/winter|employer/employee|tenant/landlord|buyer/seller|parent/child|teacher/student|husband/wife|son/daughter|men/women|
hot/cold|dry/wet|raw/cooked|new/used|old/new|early/late|north/south|weekday/weekend|weekly/monthly|monthly/yearly|daily/weekly|
days/weeks|hours/minutes|minutes/seconds|months/years|grams/ounces|miles/kilometres|pounds/kilos|debit/credit|arrival/departure|arrive/leave|
all/some|every/any|only/also|both/neither|my/my friend's|my/my daughter's|I/my boss|must/may|need to/want to|
why/when|how much/how many|when/where|where/why|who/why|how long/how often|how often/how much|lose/find|
breakfast/dinner|Android/iPhone|Windows/macOS|Mac/Linux|Chrome/Firefox|Python/Java|PDF/CSV|Excel/Word|visa/passport|rent/mortgage|
hardware/software|salary/pension|dog/cat|chicken/beef|wine/beer|coffee/tea|car/motorcycle|train/bus|hotel/hostel|flight/train|phone/tablet|
personal/business|single/double|full-time/part-time|legal/illegal|safe/dangerous|possible/impossible|allowed/forbidden|easy/hard|push/pull|
accept/decline|approve/reject|activate/deactivate|archive/restore|attach/detach|connect/disconnect|show/hide|merge/split|expand/collapse|
deposit/withdraw|withdrawal/deposit|refund/replacement|return/exchange|cancel/renew|cancel/pause|pause/resume|copy/move|print/scan|freeze/thaw""".replace("\n", "")
TURN_PAIRS = [tuple(p.split("/")) for p in TURNS.split("|")]
TURN_PAIRS += [(b, a) for a, b in TURN_PAIRS if b != "without" and " " not in b]

CLASSES = {
    "month": "January February March April May June July August September October November December".split(),
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "country": "Canada|Mexico|Germany|France|Spain|Italy|Portugal|Japan|China|India|Brazil|Australia|Norway|Sweden|Poland|Turkey|Egypt|Kenya|Chile|Peru|Ireland|Greece|Austria|Vietnam|Thailand|Switzerland|Belgium|Denmark|Finland|Argentina|Ukraine|Nigeria|Morocco|Israel".split("|"),
    "city": "London|Paris|Berlin|Madrid|Rome|Lisbon|Tokyo|Mumbai|Toronto|Chicago|Boston|Seattle|Vienna|Dublin|Oslo|Prague|Warsaw|Athens|Cairo|Lima|Munich|Barcelona|Amsterdam|Denver|Miami|Zurich|Milan|Sydney|Delhi|Lyon".split("|"),
    "language": "English|Spanish|French|German|Italian|Portuguese|Japanese|Korean|Arabic|Hindi|Russian|Dutch|Polish|Turkish|Swedish|Greek".split("|"),
    "currency": "dollars|euros|pounds|yen|francs|rupees|pesos|kroner".split("|"),
}
FIND = {k: re.compile(r"\b(" + "|".join(v) + r")\b") for k, v in CLASSES.items()}
NUMBER = re.compile(r"(?<![\w.:/,#-])\d{1,4}(?![\w:/-]|[.,]\d)")


def other_number(r, n):
    """A number near `n` or of its size, other than `n`."""
    while True:
        m = r.choice([n + 1, n - 1, n + r.randint(1, 9), n * 2, n * 10, n // 2, r.randint(1, max(12, 2 * n)), n + 10])
        if m > 0 and m != n:
            return m


def renames(r, s):
    """(old, new) replacements of one number, month, weekday, place, language or currency in `s`."""
    found = [(m.group(), str(other_number(r, int(m.group())))) for m in NUMBER.finditer(s) if not 1900 <= int(m.group()) <= 1999]
    for kind, pattern in FIND.items():
        for m in pattern.finditer(s):
            found.append((m.group(), r.choice([c for c in CLASSES[kind] if c != m.group()])))
    return found


def rename(s, old, new):
    return re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, s)


def turn(r, s):
    """One edit that changes the answer; None when nothing applies."""
    options = [(swap, a, b) for a, b in TURN_PAIRS if re.search(rf"(?i)\b{re.escape(a)}\b", s)]
    options += [(rename, a, b) for a, b in renames(r, s)] * 2
    m = re.search(r"\bfrom (?:(?:my|a|an|the) )?([\w-]+) to (?:(?:my|a|an|the) )?([\w-]+)\b", s)
    if m and m.group(1).lower() != m.group(2).lower() and r.random() < 0.8:
        return s[: m.start(1)] + m.group(2) + s[m.end(1): m.start(2)] + m.group(1) + s[m.end(2):]
    if not options:
        return None
    # Common words would otherwise crowd out the rare ones.
    weights = [0.15 if o[1].lower() in {"and", "is", "are", "do", "i", "my", "can", "how much", "when", "why", "a", "should"} else 1 for o in options]
    how, a, b = r.choices(options, weights)[0]
    out = how(s, a, b)
    return out if out != s else None


def read_sisters():
    """Words and what they can be turned into for another question (sisters.txt)."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sisters.txt")
    lines = (line.split(":", 1) for line in open(path, encoding="utf-8") if not line.startswith("#"))
    return {word: rest.split() for word, rest in lines}


SISTERS = read_sisters()


def sister(r, s):
    """(old, new): a word of `s` and a sister of it, in the word's own number; None when no word has any."""
    found = [(w, w) for w in re.findall(r"[a-z]{3,}", s) if w in SISTERS]
    found += [(w, w[:-1]) for w in re.findall(r"[a-z]{3,}s\b", s) if w not in SISTERS and w[:-1] in SISTERS]
    if not found:
        return None
    old, stem = r.choice(found)
    new = r.choice(SISTERS[stem])
    return old, new + ("s" if old != stem and not new.endswith("s") else "")
