// Package protocoldoc reads the tables of PROTOCOL.md, for tests.
package protocoldoc

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Path is where the text of the protocol lies in the repository.
func Path() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../../../broker-config/PROTOCOL.md")
}

// Table gives the rows of the table behind the mark `<!-- mark -->`, without its head; quotes for code are
// taken off.
func Table(t testing.TB, mark string) [][]string {
	t.Helper()
	text, err := os.ReadFile(Path())
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- "+mark+" -->\n")
	if !found {
		t.Fatalf("PROTOCOL.md has no table `%s`", mark)
	}
	var rows [][]string
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cell), "`")
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("the table `%s` of PROTOCOL.md is empty", mark)
	}
	return rows[2:]
}
