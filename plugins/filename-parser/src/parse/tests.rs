use proptest::prelude::*;

use super::*;

/// Writes what matters of a name on one line.
fn summary(path: &str, media: Media) -> String {
    let mut folders: Vec<String> = path.split('/').map(str::to_owned).collect();
    let name = folders.pop().unwrap_or_default();
    let p = parse(&folders, &name, media);
    let mut parts = vec![p.title.unwrap_or_else(|| "?".to_owned())];
    let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join("+"));
    let texts = |items: &std::collections::BTreeSet<&str>| {
        list(items.iter().map(|&item| item.to_owned()).collect())
    };
    let rows: [(&str, Option<String>); 26] = [
        ("y", p.year.map(|n| n.to_string())),
        ("s", p.season.map(|n| n.to_string())),
        (
            if p.absolute { "abs" } else { "e" },
            list(p.episodes.iter().map(u32::to_string).collect()),
        ),
        ("t", p.episode_title),
        ("d", p.date),
        ("part", p.part.map(|n| n.to_string())),
        ("v", p.version.map(|n| n.to_string())),
        ("ed", list(p.editions.into_iter().collect())),
        ("res", p.resolution.map(str::to_owned)),
        ("src", p.source.map(str::to_owned)),
        ("svc", p.service.map(str::to_owned)),
        ("vc", p.video_codec.map(str::to_owned)),
        ("ac", texts(&p.audio_codecs)),
        ("ch", p.channels.map(str::to_owned)),
        ("hdr", texts(&p.hdr)),
        ("bit", p.bit_depth.map(str::to_owned)),
        ("front", p.group.as_ref().filter(|g| g.in_front).map(|g| g.name.clone())),
        ("grp", p.group.as_ref().filter(|g| !g.in_front).map(|g| g.name.clone())),
        ("crc", p.crc32),
        ("lang", texts(&p.languages)),
        ("sub", texts(&p.subtitle_languages)),
        ("flag", texts(&p.flags)),
        ("extra", p.extra.map(str::to_owned)),
        ("id", list(p.unique_ids.iter().map(|(k, v)| format!("{k}:{v}")).collect())),
        ("artist", p.artist),
        ("album", p.album),
    ];
    let more = [("disc", p.disc), ("track", p.track)].map(|(k, v)| (k, v.map(|n| n.to_string())));
    for (key, value) in rows.into_iter().chain(more) {
        if let Some(value) = value {
            parts.push(format!("{key}={value}"));
        }
    }
    parts.join(" | ")
}

fn check(media: Media, table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(path, expected)| (path, expected, summary(path, media)))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(path, expected, found)| format!("{path}\n  want {expected}\n  have {found}"))
        .collect();
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn names_of_films_are_read() {
    check(
        Media::Video,
        &[
            (
                "The.Long.Way.Home.2021.1080p.BluRay.x264-GROUP.mkv",
                "The Long Way Home | y=2021 | res=1080p | src=BluRay | vc=H.264 | grp=GROUP",
            ),
            ("The Quiet Harbour (2019)/The Quiet Harbour (2019).mkv", "The Quiet Harbour | y=2019"),
            ("Été à la mer (2020).mp4", "Été à la mer | y=2020"),
            (
                "2001.A.Space.Odyssey.1968.2160p.UHD.BluRay.REMUX.HDR.HEVC.DTS-HD.MA.5.1-FGT.mkv",
                "2001 A Space Odyssey | y=1968 | res=2160p | src=BluRay | vc=H.265 | ac=DTS-HD MA | ch=5.1 | hdr=HDR | grp=FGT | flag=remux",
            ),
            (
                "Blade.Runner.2049.2017.1080p.WEB-DL.DD5.1.H264-FGT.mkv",
                "Blade Runner 2049 | y=2017 | res=1080p | src=WEB-DL | vc=H.264 | ac=AC-3 | ch=5.1 | grp=FGT",
            ),
            ("Blade Runner 2049 1080p BluRay.mkv", "Blade Runner 2049 | res=1080p | src=BluRay"),
            (
                "1917 (2019) [1080p] [BluRay] [5.1] [YTS.MX].mp4",
                "1917 | y=2019 | res=1080p | src=BluRay | ch=5.1 | grp=YTS.MX",
            ),
            (
                "2012.2009.720p.BRRip.XviD.AC3-ViSiON.avi",
                "2012 | y=2009 | res=720p | src=BRRip | vc=XviD | ac=AC-3 | grp=ViSiON",
            ),
            ("1984.mkv", "1984"),
            (
                "Wonder.Woman.1984.2020.IMAX.2160p.HMAX.WEB-DL.DDP5.1.Atmos.DV.HDR10+.HEVC-EVO.mkv",
                "Wonder Woman 1984 | y=2020 | ed=IMAX | res=2160p | src=WEB-DL | svc=HBO Max | vc=H.265 | ac=Atmos+E-AC-3 | ch=5.1 | hdr=Dolby Vision+HDR10+ | grp=EVO",
            ),
            (
                "The.French.Dispatch.2021.GERMAN.DL.1080p.WEB.H264-WAYNE.mkv",
                "The French Dispatch | y=2021 | res=1080p | src=WEB-DL | vc=H.264 | grp=WAYNE | lang=de | flag=dual-audio",
            ),
            ("Charlotte's Web (2006).mkv", "Charlotte's Web | y=2006"),
            ("Spider-Man - No Way Home (2021).mkv", "Spider-Man - No Way Home | y=2021"),
            ("Spider-Man.mkv", "Spider-Man"),
            ("Mr. Nobody (2009) Extended.mkv", "Mr. Nobody | y=2009 | ed=Extended"),
            (
                "Blade.Runner.1982.The.Final.Cut.1080p.BluRay.mkv",
                "Blade Runner | y=1982 | ed=Final Cut | res=1080p | src=BluRay",
            ),
            (
                "Aliens.1986.Directors.Cut.720p.HDTV.mkv",
                "Aliens | y=1986 | ed=Director's Cut | res=720p | src=HDTV",
            ),
            (
                "Heat (1995) {edition-Director's Definitive} {tmdb-949}.mkv",
                "Heat | y=1995 | ed=Director's Definitive | id=tmdb:949",
            ),
            (
                "The Matrix (1999) [imdbid-tt0133093] - 1080p.mkv",
                "The Matrix | y=1999 | res=1080p | id=imdb:tt0133093",
            ),
            (
                "Movie.Title.GERMAN.DL.1080p.BluRay.x264.mkv",
                "Movie Title | res=1080p | src=BluRay | vc=H.264 | lang=de | flag=dual-audio",
            ),
            (
                "Le.Fabuleux.Destin.2001.VOSTFR.DVDRip.avi",
                "Le Fabuleux Destin | y=2001 | src=DVDRip | sub=fr",
            ),
            (
                "Cidade.de.Deus.2002.PT-BR.1080p.mkv",
                "Cidade de Deus | y=2002 | res=1080p | lang=pt-BR",
            ),
            ("Kill_Bill_Vol_2_2004_cd1.avi", "Kill Bill Vol 2 | y=2004 | part=1"),
            ("Dune.Part.Two.2024.1080p.mkv", "Dune Part Two | y=2024 | res=1080p"),
            ("Gone with the Wind (1939) - part2.mkv", "Gone with the Wind | y=1939 | part=2"),
            ("Movie (2010)-trailer.mp4", "Movie | y=2010 | extra=trailer"),
            ("Movie (2010)/Trailers/Teaser.mp4", "Teaser | extra=trailer"),
            ("sample.mkv", "? | extra=sample"),
            (
                "Movies/The.Thing.1982.1080p.BluRay.x264-AMIABLE/a8f3b2c9d1e7f6045b.mkv",
                "The Thing | y=1982 | res=1080p | src=BluRay | vc=H.264 | grp=AMIABLE",
            ),
            ("E.T.the.Extra.Terrestrial.1982.mkv", "E.T. the Extra Terrestrial | y=1982"),
            (
                "Movie.2019.3D.HSBS.1080p.AV1.Opus.7.1.mkv",
                "Movie | y=2019 | res=1080p | vc=AV1 | ac=Opus | ch=7.1 | flag=3d",
            ),
            ("Cam (2018).mkv", "Cam | y=2018"),
            ("New.Film.2024.HDCAM.x264.mkv", "New Film | y=2024 | src=CAM | vc=H.264"),
            ("download interrupted.mp4", "download interrupted"),
            ("Copies/harbour backup.mkv", "harbour backup"),
            ("Movie (Director's Cut) (2010).mkv", "Movie | y=2010 | ed=Director's Cut"),
            ("Monsters, Inc. (2001).mkv", "Monsters, Inc. | y=2001"),
            ("Ｍｏｖｉｅ（２０１０）.mkv", "Movie | y=2010"),
            (
                "Some.Film.2018.1080p.BluRay.DD+5.1.x264-EPSiLON.mkv",
                "Some Film | y=2018 | res=1080p | src=BluRay | vc=H.264 | ac=E-AC-3 | ch=5.1 | grp=EPSiLON",
            ),
            (
                "Some Film 2018 1080p BluRay DTS-X 7 1 x265 10bit-Tigole.mkv",
                "Some Film | y=2018 | res=1080p | src=BluRay | vc=H.265 | ac=DTS:X | ch=7.1 | bit=10 | grp=Tigole",
            ),
            (
                "Some.Film.2018.MULTi.TRUEFRENCH.1080p.WEBRip.EAC3.mkv",
                "Some Film | y=2018 | res=1080p | src=WEBRip | ac=E-AC-3 | lang=fr | flag=multi",
            ),
            (
                "The Good, the Bad and the Ugly (1966) [1080p].mkv",
                "The Good, the Bad and the Ugly | y=1966 | res=1080p",
            ),
            ("300.2006.mkv", "300 | y=2006"),
            ("Apollo.13.1995.DVD9.mkv", "Apollo 13 | y=1995 | src=DVD"),
            ("Ocean's 8 (2018)/Ocean's 8.mkv", "Ocean's 8 | y=2018"),
            ("Léon: The Professional (1994).mkv", "Léon: The Professional | y=1994"),
            ("Fight Club.1999.Bluray-1080p.mkv", "Fight Club | y=1999 | res=1080p | src=BluRay"),
            ("Home Videos (2010)/Birthday.mkv", "Birthday"),
            (".mkv", "mkv"),
            ("x.mkv", "x"),
            ("no extension 2010", "no extension | y=2010"),
            ("(2010) Some Title.mkv", "Some Title | y=2010"),
        ],
    );
}

#[test]
fn names_of_episodes_are_read() {
    check(
        Media::Video,
        &[
            (
                "Night Signal/Season 01/Night Signal - S01E01 - Pilot.webm",
                "Night Signal | s=1 | e=1 | t=Pilot",
            ),
            (
                "Night.Signal.S01E02.The.Relay.720p.WEB-DL.AAC2.0.H.264-TEAM.mkv",
                "Night Signal | s=1 | e=2 | t=The Relay | res=720p | src=WEB-DL | vc=H.264 | ac=AAC | ch=2.0 | grp=TEAM",
            ),
            ("Show.S01E02E03.720p.mkv", "Show | s=1 | e=2+3 | res=720p"),
            ("Show.S01E02-E04.mkv", "Show | s=1 | e=2+3+4"),
            ("Show.S01E02-04.Title.mkv", "Show | s=1 | e=2+3+4 | t=Title"),
            ("Show S01E02 - S01E03.mkv", "Show | s=1 | e=2+3"),
            ("Show - 1x02 - Title.avi", "Show | s=1 | e=2 | t=Title"),
            ("Show.01x02-03.avi", "Show | s=1 | e=2+3"),
            ("Show s01.e02.mkv", "Show | s=1 | e=2"),
            ("Show (2010)/Season 1/Episode 2.mkv", "Show | y=2010 | s=1 | e=2"),
            ("Show (2010)/Season 01/02 - Title.mkv", "Show | y=2010 | s=1 | e=2 | t=Title"),
            ("Show (2010)/Season 1/103.mkv", "Show | y=2010 | s=1 | e=3"),
            ("Show (2010)/Season 01/S01E05.mkv", "Show | y=2010 | s=1 | e=5"),
            ("TV/Show/Specials/Show - S00E01 - Making Of.mkv", "Show | s=0 | e=1 | t=Making Of"),
            ("Show/Staffel 2/Show Folge 3.mkv", "Show | s=2 | e=3"),
            ("Show Season 2 Episode 11.mkv", "Show | s=2 | e=11"),
            ("Show (US) - S02E01.mkv", "Show (US) | s=2 | e=1"),
            ("Show.2010.S01E02.mkv", "Show | y=2010 | s=1 | e=2"),
            ("S.W.A.T.S01E01.mkv", "S.W.A.T. | s=1 | e=1"),
            (
                "Marvels.Agents.of.S.H.I.E.L.D.S02E03.HDTV.x264-LOL.mp4",
                "Marvels Agents of S.H.I.E.L.D. | s=2 | e=3 | src=HDTV | vc=H.264 | grp=LOL",
            ),
            (
                "The.Daily.Show.2024.01.15.Guest.Name.1080p.WEB.h264-EDITH[rartv].mkv",
                "The Daily Show | t=Guest Name | d=2024-01-15 | res=1080p | src=WEB-DL | vc=H.264 | grp=EDITH",
            ),
            ("Show - 2024-01-15 - Title.mkv", "Show | t=Title | d=2024-01-15"),
            (
                "Show.S01E03.The.French.Connection.720p.HDTV.mkv",
                "Show | s=1 | e=3 | t=The French Connection | res=720p | src=HDTV",
            ),
            (
                "Show.S01E05.PROPER.HDTV.x264-GRP.mkv",
                "Show | s=1 | e=5 | src=HDTV | vc=H.264 | grp=GRP | flag=proper",
            ),
            (
                "Show.S01E05.GERMAN.DUBBED.720p.mkv",
                "Show | s=1 | e=5 | res=720p | lang=de | flag=dubbed",
            ),
            ("Show.S03E07.AMZN.WEB-DL.mkv", "Show | s=3 | e=7 | src=WEB-DL | svc=Amazon"),
            ("Show.Name.1x02.720p.mkv", "Show Name | s=1 | e=2 | res=720p"),
            ("Show Name - S01E02a.mkv", "Show Name | s=1 | e=2"),
            ("show_name_s01e02_the_title.mkv", "show name | s=1 | e=2 | t=the title"),
            (
                "Show.Name.S01.E02.Title.1080p.NF.WEB-DL.DDP5.1.H.264-NTb.mkv",
                "Show Name | s=1 | e=2 | t=Title | res=1080p | src=WEB-DL | svc=Netflix | vc=H.264 | ac=E-AC-3 | ch=5.1 | grp=NTb",
            ),
            (
                "Show.Name.S01.1080p.BluRay.x264-GRP/Show.Name.S01E02.mkv",
                "Show Name | s=1 | e=2 | res=1080p | src=BluRay | vc=H.264 | grp=GRP",
            ),
            ("Die Serie/Staffel 01/Folge 07.mkv", "Die Serie | s=1 | e=7"),
            ("La Casa/Temporada 2/La Casa - Capitulo 4.mkv", "La Casa | s=2 | e=4"),
            ("Show - S01E01-E99.mkv", "Show | s=1 | e=1 | t=E99"),
            ("1923.S01E01.mkv", "1923 | s=1 | e=1"),
            ("3x3 Eyes.mkv", "3x3 Eyes"),
            ("Se7en.1995.mkv", "Se7en | y=1995"),
            ("World Series 2016.mkv", "World Series | y=2016"),
            ("Show.S2024E05.mkv", "Show | s=2024 | e=5"),
            ("Show.Name.E05.1920x1080.mkv", "Show Name | abs=5 | res=1080p"),
            ("Show S01E02 (1080p).mkv", "Show | s=1 | e=2 | res=1080p"),
        ],
    );
}

#[test]
fn names_of_fansub_releases_are_read() {
    check(
        Media::Video,
        &[
            (
                "Anime/Show Title/[Group] Show Title - 03 [1080p][ABCD1234].mkv",
                "Show Title | abs=3 | res=1080p | front=Group | crc=ABCD1234",
            ),
            (
                "[SubsPlease] Sousou no Frieren - 28 (1080p) [28D5BD8F].mkv",
                "Sousou no Frieren | abs=28 | res=1080p | front=SubsPlease | crc=28D5BD8F",
            ),
            (
                "[HorribleSubs] One Piece - 812v2 [720p].mkv",
                "One Piece | abs=812 | v=2 | res=720p | front=HorribleSubs",
            ),
            (
                "[Erai-raws] Mushoku Tensei S2 - 05 [1080p][Multiple Subtitle].mkv",
                "Mushoku Tensei | s=2 | e=5 | res=1080p | front=Erai-raws | flag=multisub",
            ),
            (
                "[Group]_Show_Name_-_12_[BD_1080p_Hi10P_FLAC][deadbeef].mkv",
                "Show Name | abs=12 | res=1080p | src=BluRay | vc=H.264 | ac=FLAC | bit=10 | front=Group | crc=DEADBEEF",
            ),
            ("[Group] Show 2nd Season - 03.mkv", "Show | s=2 | e=3 | front=Group"),
            ("[Group] Show 07 [720p].mkv", "Show | abs=7 | res=720p | front=Group"),
            (
                "[VCB-Studio] Show Name [01][Ma10p_1080p][x265_flac].mkv",
                "Show Name | abs=1 | res=1080p | vc=H.265 | ac=FLAC | bit=10 | front=VCB-Studio",
            ),
            (
                "[Nekomoe kissaten][Show Title][01][1080p][JPSC].mp4",
                "Show Title | abs=1 | res=1080p | front=Nekomoe kissaten | sub=zh-Hans",
            ),
            ("[Group] Show - 01-02 [1080p].mkv", "Show | abs=1+2 | res=1080p | front=Group"),
            ("[Group] Show - NCOP1 [1080p].mkv", "Show | res=1080p | front=Group | extra=opening"),
            (
                "[Group] Show - OVA [BD 1080p].mkv",
                "Show | res=1080p | src=BluRay | front=Group | flag=ova",
            ),
            ("夜の信号 第04話.mkv", "夜の信号 | abs=4"),
            ("夜の信号第2期 第０４話「題名」.mkv", "夜の信号 | s=2 | e=4"),
            ("Show Title - 03.mkv", "Show Title | abs=3"),
            ("Show Title Ep 03.mkv", "Show Title | abs=3"),
            ("Show Title #12.mkv", "Show Title | abs=12"),
            (
                "Naruto Shippuuden - 220 - Title [720p].mkv",
                "Naruto Shippuuden | abs=220 | t=Title | res=720p",
            ),
        ],
    );
}

#[test]
fn names_of_music_are_read() {
    check(
        Media::Audio,
        &[
            (
                "Music/Lantern Street/First Light/02 - Second Wind.mp3",
                "Second Wind | artist=Lantern Street | album=First Light | track=2",
            ),
            (
                "Artist/Album (2001)/CD2/05. Song.flac",
                "Song | y=2001 | artist=Artist | album=Album | disc=2 | track=5",
            ),
            (
                "Artist - Album (1999)/01 Song.flac",
                "Song | y=1999 | artist=Artist | album=Album | track=1",
            ),
            ("Artist - Song.mp3", "Song | artist=Artist"),
            ("Artist - Album - 07 - Song.mp3", "Song | artist=Artist | album=Album | track=7"),
            ("Artist - 07 - Song.mp3", "Song | artist=Artist | track=7"),
            ("1-03 Song.m4a", "Song | disc=1 | track=3"),
            ("03_Song_Name.mp3", "Song Name | track=3"),
            ("99 Luftballons.mp3", "Luftballons | track=99"),
            ("Song.mp3", "Song"),
        ],
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_name_breaks_the_parser(
        name in "([\\[\\](){}【】「」 ._~#–-]|[sSeExXvV]|[0-9]{1,5}|第|話|期|ß|İ|1080p|x264|WEB|DL|GERMAN|Season|part|\\PC){0,30}",
        folder in "(Season |S|[0-9]{1,4}|\\PC|[\\[\\]()]){0,8}",
    ) {
        for media in [Media::Video, Media::Audio] {
            let parsed = parse(&[folder.clone(), folder.clone()], &name, media);
            prop_assert!(parsed.episodes.is_sorted());
            prop_assert!(parsed.episodes.len() <= 600);
            prop_assert!(parsed.title.is_none_or(|title| !title.trim().is_empty()));
        }
    }
}

#[test]
fn a_hostile_name_is_read_quickly_and_stays_small() {
    for unit in ["[", "S01E01", "1x02-", ".", "第", "DTS-HD.MA.", "😀", "e1-"] {
        let parsed = parse(&[unit.repeat(50_000)], &unit.repeat(50_000), Media::Video);

        assert!(parsed.title.is_none_or(|title| title.chars().count() <= 300), "{unit}");
        assert!(parsed.episodes.len() < 1000, "{unit}");
    }
}
