use proptest::prelude::*;
use serde_json::json;

use super::*;

const MOVIE: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<movie>
  <title>The Quiet  Harbour</title>
  <originaltitle>Der stille Hafen</originaltitle>
  <sorttitle>Quiet Harbour, The</sorttitle>
  <year>2019</year><premiered>2019-05-03</premiered>
  <plot>A pilot &amp; her crew
wait.</plot>
  <tagline>Nothing.</tagline><runtime>97 min</runtime><mpaa>PG-13</mpaa>
  <genre>Drama / Mystery</genre><genre>Drama</genre><tag>sea</tag>
  <studio>Nordlicht</studio><country>Germany</country>
  <director>Mara L</director><credits>Jonas W</credits><writer>Eva</writer>
  <set><name>Harbour Stories</name><overview>x</overview></set>
  <dateadded>2020-01-02 03:04:05</dateadded>
  <ratings><rating name="imdb" max="10" default="true"><value>7,4</value><votes>1,203</votes></rating>
    <rating name="bad"><value>NaN</value></rating></ratings>
  <uniqueid type="TMDB" default="true">990001</uniqueid><imdbid>tt9900001</imdbid><tvdbid></tvdbid>
  <actor><name>Ana P</name><role>Pilot</role><order>0</order></actor><actor><role>x</role></actor>
</movie>
https://www.themoviedb.org/movie/1"#;

#[test]
fn a_film_is_read_with_all_it_says() {
    let Found::Described(all) = read(MOVIE).unwrap() else { panic!("nothing") };

    let [nfo] = all.as_slice() else { panic!("{all:?}") };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let set = |field: &BTreeSet<String>| field.iter().cloned().collect::<Vec<_>>().join("+");
    for (name, found, expected) in [
        ("title", text(&nfo.title), "The Quiet Harbour"),
        ("original", text(&nfo.original_title), "Der stille Hafen"),
        ("sort", text(&nfo.sort_title), "Quiet Harbour, The"),
        ("premiered", text(&nfo.premiered), "2019-05-03"),
        ("plot", text(&nfo.plot), "A pilot & her crew\nwait."),
        ("tagline", text(&nfo.tagline), "Nothing."),
        ("mpaa", text(&nfo.mpaa), "PG-13"),
        ("collection", text(&nfo.collection), "Harbour Stories"),
        ("added", text(&nfo.date_added), "2020-01-02 03:04:05"),
        ("genres", set(&nfo.genres), "Drama+Mystery"),
        ("tags", set(&nfo.tags), "sea"),
        ("studios", set(&nfo.studios), "Nordlicht"),
        ("countries", set(&nfo.countries), "Germany"),
        ("directors", set(&nfo.directors), "Mara L"),
        ("writers", set(&nfo.writers), "Eva+Jonas W"),
    ] {
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!((nfo.kind, nfo.year, nfo.runtime), (Some(Kind::Movie), Some(2019), Some(97)));
    assert_eq!(nfo.actors, [json!({"name": "Ana P", "role": "Pilot", "order": 0})]);
    let rating = json!({"value": 7.4, "max": 10.0, "votes": 1203, "default": true});
    assert_eq!(json!(nfo.ratings), json!({ "imdb": rating }));
    let ids: Vec<_> = nfo.unique_ids.iter().collect();
    assert_eq!(ids, [("imdb", "tt9900001"), ("tmdb", "990001")]);
}

#[test]
fn files_are_told_apart() {
    for (text, expected) in [
        ("<movie><title>A</title></movie>", "movie A"),
        ("junk\n<tvshow>\n<title>B</title></tvshow>", "tvshow B"),
        (
            "<episodedetails/><episodedetails><title>C</title></episodedetails>",
            "episodedetails , C",
        ),
        ("<MusicVideo><title>D</title></MusicVideo>", "musicvideo D"),
        ("https://www.imdb.com/title/tt0133093/", "- "),
        ("<movie2/>", "holds no XML and no known address"),
        ("", "holds no XML and no known address"),
        ("<-- ░▒▓ THE GROUP ▓▒░ --> <3", "holds no XML and no known address"),
        ("<?xml version='1.0'?><artist/>", "describes no video, but `artist`"),
        ("<?xml version='1.0'?>", "describes no video, but ``"),
    ] {
        let found = match read(text).unwrap() {
            Found::Nothing(reason) => reason,
            Found::Described(all) => {
                let kind = all[0].kind.map_or("-", Kind::as_str);
                let titles: Vec<_> =
                    all.into_iter().map(|nfo| nfo.title.unwrap_or_default()).collect();
                format!("{kind} {}", titles.join(", "))
            }
        };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn years_numbers_and_ids_are_believed_within_reason() {
    for (body, year, runtime, ids) in [
        ("<year>2019</year>", Some(2019), None, ""),
        ("<year>0</year><premiered>2001-02-03</premiered>", Some(2001), None, ""),
        ("<year>99999999999999999999</year>", None, None, ""),
        ("<runtime>0</runtime>", None, None, ""),
        ("<runtime>1h</runtime>", None, Some(1), ""),
        ("<id>tt0000123</id>", None, None, "imdb"),
        ("<id>123</id>", None, None, ""),
        ("<uniqueid type=\"a/b\">1</uniqueid>", None, None, ""),
        ("<uniqueid>tt0000123</uniqueid>", None, None, "imdb"),
        ("<set>Box</set>", None, None, ""),
    ] {
        let Found::Described(all) = read(&format!("<movie>{body}</movie>")).unwrap() else {
            panic!("{body}")
        };
        let names: Vec<_> = all[0].unique_ids.iter().map(|(name, _)| name).collect();
        assert_eq!((all[0].year, all[0].runtime), (year, runtime), "{body}");
        assert_eq!(names.join("+"), ids, "{body}");
    }
}

#[test]
fn the_episode_of_the_name_is_picked() {
    let text = "<episodedetails><season>1</season><episode>1</episode></episodedetails>\
        <episodedetails><season>1</season><episode>2</episode></episodedetails>";
    for (season, episode, expected) in [
        (Some(1), Some(2), Some(2)),
        (None, Some(2), Some(2)),
        (Some(2), Some(2), Some(1)),
        (None, None, Some(1)),
    ] {
        let Found::Described(all) = read(text).unwrap() else { panic!("nothing") };
        let picked = pick(all, season, episode).unwrap();
        assert_eq!(picked.episode, expected, "{season:?} {episode:?}");
    }
    assert_eq!(pick(vec![], None, None), None);
}

#[test]
fn large_values_are_cut() {
    let genres: String = (0..1000).map(|n| format!("<genre>{n}</genre>")).collect();
    let actors = "<actor><name>A</name></actor>".repeat(1000);
    let text = format!("<movie><title>{}</title>{genres}{actors}</movie>", "x".repeat(100_000));

    let Found::Described(all) = read(&text).unwrap() else { panic!("nothing") };

    assert_eq!(all[0].title.as_ref().map(String::len), Some(500));
    assert_eq!((all[0].genres.len(), all[0].actors.len()), (200, MAX_ACTORS));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_reader(
        text in "(<movie>|</movie>|<tvshow|<title>|</title>|<set>|<ratings><rating name='x'>|\
            <!\\[CDATA\\[|\\]\\]>|<!--|-->|<\\?xml|\\?>|&#x?[0-9a-f]{1,9};|&amp|<!DOCTYPE|[<>&'\"= /]|\\PC){0,40}",
    ) {
        if let Err(error) = read(&text) {
            prop_assert!(error.line >= 1 && !error.reason.is_empty());
        }
    }

    #[test]
    fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = crate::decode::decode(&bytes);
        prop_assert!(text.chars().count() <= bytes.len());
        drop(read(&text));
    }
}
