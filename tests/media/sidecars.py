"""The texts of the library: subtitles, Kodi/Jellyfin `.nfo` files and a chapter list."""

ENGLISH = """1
00:00:00,500 --> 00:00:01,800
The harbour is quiet tonight.

2
00:00:02,000 --> 00:00:02,900
<i>Listen.</i>
"""

GERMAN = """1
00:00:00,500 --> 00:00:01,800
Der Hafen ist still heute Nacht.
"""

FRENCH = """1
00:00:00,500 --> 00:00:02,000
Où est passé l'été ?
"""

SIGNS = """[Script Info]
Title: Signs
ScriptType: v4.00+
PlayResX: 640
PlayResY: 360

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Alignment, MarginL, MarginR, MarginV
Style: Default,Arial,24,&H00FFFFFF,0,0,2,10,10,10

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.50,0:00:01.80,Default,,0,0,0,,{\\an8}Night train, platform 3
Dialogue: 0,0:00:02.00,0:00:02.90,Default,,0,0,0,,We should go.
"""

PORTUGUESE = (
    SIGNS.replace("Title: Signs", "Title: Placas")
    .replace("Night train, platform 3", "Trem noturno, plataforma 3")
    .replace("We should go.", "Devíamos ir.")
)

CHAPTERS = """;FFMETADATA1
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=Arrival
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=4000
title=The Pier
[CHAPTER]
TIMEBASE=1/1000
START=4000
END=6000
title=Departure
"""

MOVIE = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<movie>
  <title>The Quiet Harbour</title>
  <originaltitle>Der stille Hafen</originaltitle>
  <sorttitle>Quiet Harbour, The</sorttitle>
  <year>2019</year>
  <premiered>2019-05-03</premiered>
  <runtime>97</runtime>
  <mpaa>PG-13</mpaa>
  <plot>A harbour pilot &amp; her crew wait for a ship that was never announced.</plot>
  <tagline>Nothing arrives by chance.</tagline>
  <genre>Drama</genre>
  <genre>Mystery</genre>
  <country>Germany</country>
  <studio>Nordlicht Film</studio>
  <director>Mara Lindqvist</director>
  <credits>Jonas Weber</credits>
  <set><name>Harbour Stories</name></set>
  <tag>sea</tag>
  <ratings>
    <rating name="themoviedb" max="10" default="true"><value>7.4</value><votes>1203</votes></rating>
  </ratings>
  <uniqueid type="tmdb" default="true">990001</uniqueid>
  <uniqueid type="imdb">tt9900001</uniqueid>
  <actor><name>Ana Petrović</name><role>The Pilot</role><order>0</order></actor>
  <actor><name>Tom Okafor</name><role>The Mate</role><order>1</order></actor>
</movie>
"""

SCENE_MOVIE = """<?xml version="1.0" encoding="UTF-8"?>
<movie>
  <title>The Long Way Home</title>
  <year>2021</year>
  <genre>Adventure</genre>
  <uniqueid type="imdb" default="true">tt9900002</uniqueid>
</movie>
"""

SHOW = """<?xml version="1.0" encoding="UTF-8"?>
<tvshow>
  <title>Night Signal</title>
  <year>2017</year>
  <premiered>2017-09-14</premiered>
  <status>Ended</status>
  <plot>Four operators share one relay station and one secret.</plot>
  <genre>Thriller</genre>
  <studio>Channel North</studio>
  <uniqueid type="tvdb" default="true">880001</uniqueid>
</tvshow>
"""

EPISODE = """<?xml version="1.0" encoding="UTF-8"?>
<episodedetails>
  <title>The Relay</title>
  <showtitle>Night Signal</showtitle>
  <season>1</season>
  <episode>2</episode>
  <aired>2017-09-21</aired>
  <plot>The second station answers.</plot>
  <director>Ines Caldeira</director>
  <uniqueid type="tvdb" default="true">880102</uniqueid>
  <actor><name>Lena Fischer</name><role>Operator 4</role></actor>
</episodedetails>
"""
