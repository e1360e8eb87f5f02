package s3

import (
	"hash/crc64"
	"testing"

	"pgregory.net/rapid"
)

// The polynomial that Amazon documents, by the standard library, which is a quarter as fast.
func TestTheChecksumIsAmazons(t *testing.T) {
	nvme := crc64.MakeTable(0x9a6c9329ac4bc9b5)
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "content")
		want := crc64.Checksum(content, nvme)
		cut := rapid.IntRange(0, len(content)).Draw(t, "cut")
		if got := addChecksum(addChecksum(0, content[:cut]), content[cut:]); got != want {
			t.Fatalf("in two pieces: %x, want %x", got, want)
		}
		if got := checksumOf(content); got != checksumText(want) {
			t.Fatalf("whole: %s, want %s", got, checksumText(want))
		}
	})
}
