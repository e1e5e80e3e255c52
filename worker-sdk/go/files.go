package metafleet

import (
	"github.com/metafleet/metafleet/worker-sdk/go/internal/paths"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/source"
)

// files says where the files of tasks are.
type files struct {
	paths  paths.Map
	remote *source.Remote
}

func (f files) place(path string, size uint64) source.Place {
	return source.Place{There: path, Here: f.paths.Here(path), Size: size, Remote: f.remote}
}
