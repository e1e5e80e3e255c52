package names

import (
	"strings"
	"testing"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/protocoldoc"
)

func TestTokensAreThoseOfTheProtocol(t *testing.T) {
	for _, row := range protocoldoc.Table(t, "codec") {
		text, token := row[0], row[1]
		if text == "(empty)" {
			text = ""
		}
		if got := Encode(text); got != token {
			t.Errorf("%q: %s, not %s", text, got, token)
		}
		if got, err := Decode(token); err != nil || got != text {
			t.Errorf("%s: %q, %v", token, got, err)
		}
	}
	for _, row := range protocoldoc.Table(t, "codec-refused") {
		if got, err := Decode(row[0]); err == nil {
			t.Errorf("%s was read as %q", row[0], got)
		}
	}
}

func FuzzOneTextHasOneToken(f *testing.F) {
	for _, seed := range []string{"", "=", "=3A", "a.b", "=C3", "=c3", "é", "midhash256:ab"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		text, err := Decode(token)
		if err == nil && Encode(text) != token {
			t.Errorf("%q and %q are both %q", token, Encode(text), text)
		}
	})
}

func TestNamesAreThoseOfTheProtocol(t *testing.T) {
	const plugin, instance, cid = "ffmpeg", "ffmpeg-1", "midhash256:ab"
	made := func(n Names) map[string]string {
		return map[string]string{
			"stream of tasks":                     n.TaskStream(),
			"submission":                          n.Submit(Fast),
			"task":                                n.Task(Fast, plugin, LaneMain, cid),
			"consumer of tasks":                   Consumer(plugin, LaneMain, Fast),
			"task of a version that is tried":     n.Task(Fast, plugin, LaneNext, cid),
			"consumer of such tasks":              Consumer(plugin, LaneNext, Fast),
			"outcome of a trial, no record":       n.Record(cid, plugin, true),
			"record":                              n.Record(cid, plugin, false),
			"artefact still.jpg of a file":        n.Artifact(cid, plugin, false, "still.jpg"),
			"announcement":                        n.Signal(plugin, "announce"),
			"signal failed":                       n.Signal(plugin, "failed"),
			"sign of life":                        n.Instance(plugin, instance),
			"control, every instance of a plugin": n.Control(plugin, ""),
			"control, one instance":               n.Control(plugin, instance),
		}
	}
	seen := 0
	for _, row := range protocoldoc.Table(t, "names: mf my-fleet") {
		what := strings.ReplaceAll(row[0], "`", "")
		for i, prefix := range []string{"mf", "my-fleet"} {
			if got, ok := made(New(prefix))[what]; ok {
				seen++
				if got != row[i+1] {
					t.Errorf("%s: %s, not %s", what, got, row[i+1])
				}
			}
		}
	}
	if seen != 2*len(made(New("mf"))) {
		t.Errorf("only %d names are in the table", seen)
	}
}

func TestSubjectsOfTasksAreRead(t *testing.T) {
	n := New("mf")
	for _, lane := range []string{LaneMain, LaneNext, "gpu"} {
		want := Address{Background, "line-counter", lane, "日本 .*"}
		got, err := n.ParseTask(n.Task(want.Queue, want.Plugin, want.Lane, want.CID))
		if err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, wrong := range []string{
		"", "mf.task.fast.a", "mf.task.slow.a.b", "mf.task.fast.A.b", "my.task.fast.a.b", "mf.task.fast.a.=3a", "mf.task.fast.a.b.c",
	} {
		if got, err := n.ParseTask(wrong); err == nil {
			t.Errorf("%s was read as %+v", wrong, got)
		}
	}
}

func TestIdsAreChecked(t *testing.T) {
	for _, c := range []struct {
		check func(string) error
		right []string
		wrong []string
	}{
		{CheckPrefix, []string{"mf", "a-b", strings.Repeat("x", 24)}, []string{"", "-a", "a-", "A", strings.Repeat("x", 25)}},
		{CheckPlugin, []string{"ffmpeg", "a"}, []string{"", "user", "coordinator", "a_b", "a.b", "A", strings.Repeat("x", 65)}},
		{CheckInstance, []string{"A_b-9"}, []string{"", "a.b", "é", strings.Repeat("x", 129)}},
		{CheckArtifact, []string{"still.jpg", "  ", "a b é/..>*", strings.Repeat("é", 64)}, []string{"", "a\x00", "a\nb", "\x7f", "\u0085", "a\xff", strings.Repeat("é", 64) + "x"}},
		{CheckRoute, []string{"gpu"}, []string{"main", "next", "", "G"}},
	} {
		for _, text := range c.right {
			if err := c.check(text); err != nil {
				t.Error(err)
			}
		}
		for _, text := range c.wrong {
			if c.check(text) == nil {
				t.Errorf("`%s` was taken", text)
			}
		}
	}
}
