package paths

import "testing"

func TestPathsAreMappedBySegments(t *testing.T) {
	m, err := Parse("/library/films=/mnt/films:/library/music/=/mnt/music/:/library=/mnt/rest:/all=/")
	if err != nil {
		t.Fatal(err)
	}
	for there, here := range map[string]string{
		"/library/films/a.mkv":     "/mnt/films/a.mkv",
		"/library/films":           "/mnt/films",
		"/library/filmsters/a":     "/mnt/rest/filmsters/a",
		"/library/music/b\xff.mp3": "/mnt/music/b\xff.mp3",
		"/library/x=y:z":           "/mnt/rest/x=y:z",
		"/elsewhere/library/films": "/elsewhere/library/films",
		"/all/etc":                 "/etc",
		"/all":                     "/",
	} {
		if got := m.Here(there); got != here {
			t.Errorf("%q is here %q, not %q", there, got, here)
		}
	}
	for here, there := range map[string]string{
		"/mnt/films/new.srt": "/library/films/new.srt", "/mnt/rest": "/library", "/mnt/filmsters": "/all/mnt/filmsters", "/": "/all/",
	} {
		if got := m.There(here); got != there {
			t.Errorf("%q is there %q, not %q", here, got, there)
		}
	}
	if got := (Map{}).Here("/a"); got != "/a" {
		t.Error(got)
	}
}

func TestWhatIsNoPairIsRefused(t *testing.T) {
	for _, wrong := range []string{"", "/a", "/a=b", "a=/b", "=", "/a=/b:", ":/a=/b", "/a=/b::/c=/d", "/a=/b:/a/=/c", "/a/../b=/c", "/a=/b/."} {
		if m, err := Parse(wrong); err == nil {
			t.Errorf("`%s` became %+v", wrong, m)
		}
	}
}

func FuzzAPathComesBack(f *testing.F) {
	f.Add("/library/films/a\xff")
	m, err := Parse("/library=/mnt/a:/more=/srv/b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if here := m.Here(path); here != path && m.There(here) != path {
			t.Errorf("%q, %q, %q", path, here, m.There(here))
		}
	})
}
