package wire_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/protocoldoc"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

func TestAnArtefactIsDescribedAsTheProtocolHasIt(t *testing.T) {
	described := wire.ArtifactOf("still é.jpg", "image/jpeg", []byte("abc"))
	text, err := json.Marshal(described)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"artifact":"still é.jpg","mediaType":"image/jpeg","size":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	documented := []string{}
	for _, row := range protocoldoc.Table(t, "artifact") {
		documented = append(documented, row[0])
	}
	slices.Sort(documented)
	if have := slices.Sorted(maps.Keys(fields)); !slices.Equal(have, documented) {
		t.Errorf("%v, not %v", have, documented)
	}
	if !described.IsOf([]byte("abc")) || described.IsOf([]byte("abd")) || described.IsOf(nil) {
		t.Error("it is mistaken for that of other bytes")
	}
}
