package midhash

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/protocoldoc"
)

func TestContentIdsAreThoseOfTheProtocol(t *testing.T) {
	for _, row := range protocoldoc.Table(t, "midhash") {
		size, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		var content []byte
		switch {
		case row[0] == "nothing":
		case row[0] == "zeros":
			content = make([]byte, size)
		case strings.HasPrefix(row[0], "byte *i*"):
			for i := range size {
				content = append(content, byte(i%251))
			}
		default:
			content = []byte(row[0])
		}
		if got, err := Of(bytes.NewReader(content), int64(size)); err != nil || got != row[2] || len(content) != size {
			t.Errorf("%v: %s, %v", row, got, err)
		}
	}
	if _, err := Of(strings.NewReader("abc"), 4); err == nil {
		t.Error("a file that became shorter has an id")
	}
}
