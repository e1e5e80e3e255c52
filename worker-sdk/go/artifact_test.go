package metafleet

import (
	"strings"
	"testing"
)

func TestMediaTypesAreHeldAgainstTheProtocol(t *testing.T) {
	for _, text := range []string{
		"image/jpeg", "application/vnd.a+b.c-d_e", "text/plain; charset=utf-8", "text/plain ;x=y", "text/plain;",
		`text/plain; title="a; b/c"`, "a/" + strings.Repeat("x", 253),
	} {
		if err := checkArtifact("a", text); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{
		"", "jpeg", "/", "a/", "/b", "a/b/c", "a b/c", "a/b c", " image/png", "image/png ", "image/png\n", "text/plain; ", "é/x",
		"text/plain; x=é", "a\r\nMf-Dead-Letter: 1", "text/plain\r\nX: y", "text/plain; x\ty", "a/" + strings.Repeat("x", 254),
	} {
		if err := checkArtifact("a", text); err == nil || !strings.Contains(err.Error(), "is no media type of the artefact `a`") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
