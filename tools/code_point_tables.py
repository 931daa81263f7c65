#!/usr/bin/env python3
"""Writes base/code_point_tables.inc. usage: code_point_tables.py OUT.inc

Character classes of regular expressions (Unicode 16, as Oniguruma in Hugging Face tokenizers
0.22.2 knows them), grapheme cluster breaks and the scripts of UnicodeScripts (Unicode 9), found by
running the reference on every code point. Names are those of the Unicode property aliases.
"""
import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

from unicode_tables import CODE_POINTS, Writer, ranges

CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co "
              "Cn").split()
SCRIPTS = """
Adlam/Adlm Ahom/Ahom Anatolian_Hieroglyphs/Hluw Arabic/Arab Armenian/Armn Avestan/Avst
Balinese/Bali Bamum/Bamu Bassa_Vah/Bass Batak/Batk Bengali/Beng Bhaiksuki/Bhks Bopomofo/Bopo
Brahmi/Brah Braille/Brai Buginese/Bugi Buhid/Buhd Canadian_Aboriginal/Cans Carian/Cari
Caucasian_Albanian/Aghb Chakma/Cakm Cham/Cham Cherokee/Cher Chorasmian/Chrs Common/Zyyy Coptic/Copt
Cuneiform/Xsux Cypriot/Cprt Cypro_Minoan/Cpmn Cyrillic/Cyrl Deseret/Dsrt Devanagari/Deva
Dives_Akuru/Diak Dogra/Dogr Duployan/Dupl Egyptian_Hieroglyphs/Egyp Elbasan/Elba Elymaic/Elym
Ethiopic/Ethi Garay/Gara Georgian/Geor Glagolitic/Glag Gothic/Goth Grantha/Gran Greek/Grek
Gujarati/Gujr Gunjala_Gondi/Gong Gurmukhi/Guru Gurung_Khema/Gukh Han/Hani Hangul/Hang
Hanifi_Rohingya/Rohg Hanunoo/Hano Hatran/Hatr Hebrew/Hebr Hiragana/Hira Imperial_Aramaic/Armi
Inherited/Zinh Inscriptional_Pahlavi/Phli Inscriptional_Parthian/Prti Javanese/Java Kaithi/Kthi
Kannada/Knda Katakana/Kana Kawi/Kawi Kayah_Li/Kali Kharoshthi/Khar Khitan_Small_Script/Kits
Khmer/Khmr Khojki/Khoj Khudawadi/Sind Kirat_Rai/Krai Lao/Laoo Latin/Latn Lepcha/Lepc Limbu/Limb
Linear_A/Lina Linear_B/Linb Lisu/Lisu Lycian/Lyci Lydian/Lydi Mahajani/Mahj Makasar/Maka
Malayalam/Mlym Mandaic/Mand Manichaean/Mani Marchen/Marc Masaram_Gondi/Gonm Medefaidrin/Medf
Meetei_Mayek/Mtei Mende_Kikakui/Mend Meroitic_Cursive/Merc Meroitic_Hieroglyphs/Mero Miao/Plrd
Modi/Modi Mongolian/Mong Mro/Mroo Multani/Mult Myanmar/Mymr Nabataean/Nbat Nag_Mundari/Nagm
Nandinagari/Nand New_Tai_Lue/Talu Newa/Newa Nko/Nkoo Nushu/Nshu Nyiakeng_Puachue_Hmong/Hmnp
Ogham/Ogam Ol_Chiki/Olck Ol_Onal/Onao Old_Hungarian/Hung Old_Italic/Ital Old_North_Arabian/Narb
Old_Permic/Perm Old_Persian/Xpeo Old_Sogdian/Sogo Old_South_Arabian/Sarb Old_Turkic/Orkh
Old_Uyghur/Ougr Oriya/Orya Osage/Osge Osmanya/Osma Pahawh_Hmong/Hmng Palmyrene/Palm Pau_Cin_Hau/Pauc
Phags_Pa/Phag Phoenician/Phnx Psalter_Pahlavi/Phlp Rejang/Rjng Runic/Runr Samaritan/Samr
Saurashtra/Saur Sharada/Shrd Shavian/Shaw Siddham/Sidd SignWriting/Sgnw Sinhala/Sinh Sogdian/Sogd
Sora_Sompeng/Sora Soyombo/Soyo Sundanese/Sund Sunuwar/Sunu Syloti_Nagri/Sylo Syriac/Syrc
Tagalog/Tglg Tagbanwa/Tagb Tai_Le/Tale Tai_Tham/Lana Tai_Viet/Tavt Takri/Takr Tamil/Taml Tangsa/Tnsa
Tangut/Tang Telugu/Telu Thaana/Thaa Thai/Thai Tibetan/Tibt Tifinagh/Tfng Tirhuta/Tirh Todhri/Todr
Toto/Toto Tulu_Tigalari/Tutg Ugaritic/Ugar Vai/Vaii Vithkuqi/Vith Wancho/Wcho Warang_Citi/Wara
Yezidi/Yezi Yi/Yiii Zanabazar_Square/Zanb
""".split()
BINARY = """
Alphabetic/Alpha Uppercase/Upper Lowercase/Lower Emoji/Emoji Emoji_Presentation/EPres
Emoji_Modifier/EMod Emoji_Modifier_Base/EBase Emoji_Component/EComp Extended_Pictographic/ExtPict
Ideographic/Ideo Unified_Ideograph/UIdeo Dash/Dash Hex_Digit/Hex Math/Math Diacritic/Dia
Quotation_Mark/QMark Grapheme_Extend/Gr_Ext ID_Start/IDS ID_Continue/IDC Variation_Selector/VS
Regional_Indicator/RI Terminal_Punctuation/Term Sentence_Terminal/STerm Cased/Cased
""".split()


def matches(pattern, code_points):
    """The code points that a pattern for one character matches."""
    splitter = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed", invert=True)
    out = []
    for begin in range(0, len(code_points), 100000):
        part = code_points[begin:begin + 100000]
        for _, (a, b) in splitter.pre_tokenize_str("".join(map(chr, part))):
            out += part[a:b]
    return out


def valued(names, code_points):
    """[first, last, index of the name] for classes that exclude each other."""
    rows = []
    for index, name in enumerate(names):
        rows += [(a, b, index) for a, b in ranges(matches(r"\p{%s}" % name, code_points))]
    return sorted(rows)


def legacy_scripts():
    """Unicode 9 scripts as UnicodeScripts tells them apart; 0 is Any."""
    split = pre_tokenizers.UnicodeScripts().pre_tokenize_str
    rows, known = [], []
    for c in CODE_POINTS:
        s = chr(c)
        if len(split("a" + s)) == 1 and len(split("\u03b1" + s)) == 1:
            continue
        if rows and rows[-1][1] == c - 1 and len(split(chr(c - 1) + s)) == 1:
            rows[-1][1] = c
            continue
        index = next((i for i, k in enumerate(known) if len(split(k + s)) == 1), len(known))
        if index == len(known):
            known.append(s)
        rows.append([c, c, index + 1])
    return rows


def main():
    w = Writer(sys.argv[1])
    w.comment("Generated by tools/code_point_tables.py from tokenizers 0.22.2; do not edit.")
    hexed = lambda rows: [(hex(a), hex(b), str(v)) for a, b, v in rows]
    categories = valued(CATEGORIES, CODE_POINTS)
    covered = sum(b - a + 1 for a, b, _ in categories)
    assert covered - 2048 * (covered > len(CODE_POINTS)) == len(CODE_POINTS), covered
    w.comment("General_Category, as an index in kCategoryNames; Cn is left out.")
    unassigned = CATEGORIES.index("Cn")
    w.array("const char*", "kCategoryNames", [f'"{name}"' for name in CATEGORIES])
    w.array("RangeValue", "kCategories", hexed(r for r in categories if r[2] != unassigned))
    private = CATEGORIES.index("Co")
    assigned = [c for a, b, v in categories if v not in (unassigned, private)
                for c in range(a, b + 1) if not 0xD800 <= c <= 0xDFFF]
    names = [name.split("/") for name in SCRIPTS]
    w.array("PropertyName", "kScriptNames", [(f'"{a}"', f'"{b}"') for a, b in names])
    w.array("RangeValue", "kScripts", hexed(valued([a for a, _ in names], assigned)))
    rows, table = [], []
    for name in BINARY:
        long, short = name.split("/")
        begin = len(rows)
        rows += [(hex(a), hex(b)) for a, b in ranges(matches(r"\p{%s}" % long, assigned))]
        table.append((f'"{long}"', f'"{short}"', str(begin), str(len(rows))))
    w.comment("Binary properties: name, short name, ranges [begin, end) in kBinaryRanges.")
    w.array("BinaryProperty", "kBinaryProperties", table)
    w.array("Range", "kBinaryRanges", rows)

    # What \w has beside Alphabetic, M, Nd and Pc.
    word = set(matches(r"\w", CODE_POINTS))
    plain = set(matches(r"[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}]", CODE_POINTS))
    assert not plain - word, plain - word
    w.set("kMoreWord", sorted(word - plain))
    # Simple case folding beyond lowercase.
    folds = [(hex(ord(c)), hex(ord(f))) for c, f in
             ((chr(c), chr(c).casefold()) for c in CODE_POINTS)
             if len(f) == 1 and f != c and f != c.lower() and unicodedata.category(c) != "Cn"]
    w.array("CodePointPair", "kMoreFolds", folds)
    w.comment("Full case foldings of more than one character.")
    long = [(c, chr(c).casefold()) for c in CODE_POINTS if len(chr(c).casefold()) > 1]
    w.array("LongFold", "kLongFolds",
            [(hex(c), "{%s}" % ", ".join(hex(ord(x)) for x in f.ljust(3, "\0"))) for c, f in long])

    # Grapheme_Cluster_Break, through \\X.
    cluster = pre_tokenizers.Split(Regex(r"\X"), "isolated")
    joined = lambda text: len(cluster.pre_tokenize_str(text)) == 1
    after = [c for c in CODE_POINTS if joined("a" + chr(c))]
    w.comment("Grapheme clusters: Extend, ZWJ and SpacingMark; Prepend; Control with CR and LF.")
    w.set("kClusterExtend", after)
    w.set("kClusterPrepend", [c for c in CODE_POINTS if joined(chr(c) + "a")])
    skip = set(after)
    w.set("kClusterControl", [c for c in CODE_POINTS if c not in skip and not joined(chr(c) + "\u0300")])

    w.comment("Scripts of Unicode 9 by number; others are Any. Han has Hiragana and Katakana.")
    w.array("RangeValue", "kLegacyScripts", hexed(legacy_scripts()))


if __name__ == "__main__":
    main()
