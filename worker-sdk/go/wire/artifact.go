package wire

import (
	"crypto/sha256"
	"encoding/hex"
)

// Artifact is what metadata says of something that a plugin made of a file and keeps in the broker: a JSON value.
type Artifact struct {
	// Name is what it is called; with the file and the plugin it is its key.
	Name string `json:"artifact"`
	// MediaType is its media type, e.g. `image/jpeg`.
	MediaType string `json:"mediaType"`
	// Size is its size in bytes.
	Size uint64 `json:"size"`
	// SHA256 is the SHA-256 of its bytes, in lower-case hexadecimal.
	SHA256 string `json:"sha256"`
}

// ArtifactOf describes these bytes.
func ArtifactOf(name, mediaType string, data []byte) Artifact {
	sum := sha256.Sum256(data)
	return Artifact{Name: name, MediaType: mediaType, Size: uint64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// IsOf says whether these are its bytes.
func (a Artifact) IsOf(data []byte) bool { return a == ArtifactOf(a.Name, a.MediaType, data) }
