//! PURE  languages as people write them into file names, as BCP 47.

/// The BCP 47 tag of `en`, `eng`, `English`, `pt-BR`, `zh_Hant`, `chs` …; `None` for other words.
#[must_use]
pub fn tag(word: &str) -> Option<String> {
    // No tag in a file name is longer; a title can be.
    if word.len() > 20 || !word.is_ascii() {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    if let Some((_, tag)) = SPECIAL.iter().find(|(name, _)| *name == lower) {
        return Some((*tag).to_owned());
    }
    let mut parts = lower.split(['-', '_']);
    let mut tag = code(parts.next()?)?.to_owned();
    for part in parts {
        tag.push('-');
        tag.push_str(&subtag(part)?);
    }
    Some(tag)
}

/// A script (`Hans`) or a region (`BR`, `419`).
fn subtag(part: &str) -> Option<String> {
    let alphabetic = part.bytes().all(|byte| byte.is_ascii_alphabetic());
    match part.len() {
        2 if alphabetic => Some(part.to_ascii_uppercase()),
        3 if part.bytes().all(|byte| byte.is_ascii_digit()) => Some(part.to_owned()),
        4 if alphabetic => {
            let (first, rest) = part.split_at(1);
            Some(first.to_ascii_uppercase() + rest)
        }
        _ => None,
    }
}

/// The shortest code of a language.
fn code(word: &str) -> Option<&'static str> {
    let mut languages = LANGUAGES.lines().map(str::split_whitespace);
    languages.find(|names| names.clone().any(|name| name == word))?.next()
}

/// Words that say more than a language.
const SPECIAL: &[(&str, &str)] = &[
    ("brazilian", "pt-BR"),
    ("pob", "pt-BR"),
    ("chs", "zh-Hans"),
    ("cht", "zh-Hant"),
    ("simplified", "zh-Hans"),
    ("traditional", "zh-Hant"),
    ("cantonese", "yue"),
    ("mandarin", "zh"),
];

/// ISO 639: the two-letter code, the three-letter ones, the English name. One language a line;
/// a few that subtitles exist in have no two-letter code.
const LANGUAGES: &str = "\
aa aar afar
ab abk abkhazian
af afr afrikaans
ak aka akan
am amh amharic
an arg aragonese
ar ara arabic
as asm assamese
av ava
ay aym aymara
az aze azerbaijani
ba bak bashkir
be bel belarusian
bg bul bulgarian
bi bis
bm bam bambara
bn ben bengali
bo bod tib tibetan
br bre breton
bs bos bosnian
ca cat catalan
ce che chechen
ch cha
co cos corsican
cr cre cree
cs ces cze czech
cu chu
cv chv chuvash
cy cym wel welsh
da dan danish
de deu ger german deutsch
dv div
dz dzo dzongkha
ee ewe
el ell gre greek
en eng english
eo epo esperanto
es spa spanish espanol castellano
et est estonian
eu eus baq basque
fa fas per persian farsi
ff ful
fi fin finnish
fj fij fijian
fo fao faroese
fr fra fre french francais
fy fry frisian
ga gle irish
gd gla gaelic
gl glg galician
gn grn guarani
gu guj gujarati
gv glv manx
ha hau hausa
he heb hebrew iw
hi hin hindi
hr hrv scr croatian
ht hat haitian
hu hun hungarian
hy hye arm armenian
ia ina interlingua
id ind indonesian
ig ibo igbo
io ido
is isl ice icelandic
it ita italian italiano
iu iku inuktitut
ja jpn japanese
jv jav javanese
ka kat geo georgian
kg kon
ki kik kikuyu
kk kaz kazakh
kl kal greenlandic
km khm khmer
kn kan kannada
ko kor korean
kr kau
ks kas kashmiri
ku kur kurdish
kv kom
kw cor cornish
ky kir kyrgyz
la lat latin
lb ltz luxembourgish
lg lug ganda
li lim
ln lin lingala
lo lao
lt lit lithuanian
lv lav latvian
mg mlg malagasy
mh mah
mi mri mao maori
mk mkd mac macedonian
ml mal malayalam
mn mon mongolian
mr mar marathi
ms msa may malay
mt mlt maltese
my mya bur burmese
nb nob
ne nep nepali
nl nld dut dutch nederlands
nn nno nynorsk
no nor norwegian
nv nav navajo
ny nya
oc oci occitan
oj oji
om orm oromo
or ori
os oss ossetian
pa pan punjabi
pi pli pali
pl pol polish polski
ps pus pashto
pt por portuguese portugues
qu que quechua
rm roh romansh
rn run
ro ron rum romanian
ru rus russian
rw kin kinyarwanda
sa san sanskrit
sc srd sardinian
sd snd sindhi
se sme
sg sag
si sin sinhala
sk slk slo slovak
sl slv slovenian
sm smo samoan
sn sna shona
so som somali
sq sqi alb albanian
sr srp scc serbian
ss ssw
st sot
su sun sundanese
sv swe swedish svenska
sw swa swahili
ta tam tamil
te tel telugu
tg tgk tajik
th tha thai
ti tir tigrinya
tk tuk turkmen
tl tgl tagalog
tn tsn tswana
to ton tongan
tr tur turkish
ts tso tsonga
tt tat tatar
tw twi
ty tah tahitian
ug uig uyghur
uk ukr ukrainian
ur urd urdu
uz uzb uzbek
ve ven
vi vie vietnamese
wa wln walloon
wo wol wolof
xh xho xhosa
yi yid yiddish
yo yor yoruba
za zha
zh zho chi cmn chinese
zu zul zulu
ast asturian
fil filipino
gsw
haw hawaiian
hmn hmong
nds
scn sicilian
tlh klingon
yue";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_names_become_tags() {
        for (word, expected) in [
            ("en", Some("en")),
            ("ENG", Some("en")),
            ("English", Some("en")),
            ("ger", Some("de")),
            ("deu", Some("de")),
            ("pt-BR", Some("pt-BR")),
            ("pt_br", Some("pt-BR")),
            ("por-BR", Some("pt-BR")),
            ("zh-hans", Some("zh-Hans")),
            ("zh-Hant-TW", Some("zh-Hant-TW")),
            ("es-419", Some("es-419")),
            ("chs", Some("zh-Hans")),
            ("fil", Some("fil")),
            ("xx", None),
            ("2019", None),
            ("en-", None),
            ("en-x", None),
            ("-", None),
            ("", None),
            ("été", None),
        ] {
            assert_eq!(tag(word).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn no_word_stands_for_two_languages() {
        let mut seen = std::collections::BTreeSet::new();
        for name in LANGUAGES.split_whitespace() {
            assert!(seen.insert(name), "{name}");
        }
    }
}
