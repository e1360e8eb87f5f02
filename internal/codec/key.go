package codec

import (
	"crypto/cipher"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/export"
)

// Key is a key and the id by which payloads name it. It does not show its secret.
type Key struct {
	// ID stands in clear beside everything that the key encrypts.
	ID   string
	aead cipher.AEAD
}

// keySize is that of AES-256, in bytes.
const keySize = 32

// NewKey makes a key of its id, up to 64 letters, digits, dots, dashes and underscores, and of 32 random bytes as base64.
func NewKey(id, secret string) (Key, error) {
	if !keyID.MatchString(id) {
		return Key{}, export.Errorf(export.KindConfig, "key %q: an id has 1 to 64 letters, digits, dots, dashes and underscores, such as k1", id)
	}
	bytes, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(bytes) != keySize {
		return Key{}, export.Errorf(export.KindConfig, "key %q is not 32 bytes as base64: make one with `head -c 32 /dev/urandom | base64`", id)
	}
	aead, err := newAEAD(bytes)
	return Key{ID: id, aead: aead}, err
}

var keyID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ParseKeys reads a list of keys: id=reference, separated by commas, the one that encrypts first. resolve gives what a
// reference refers to, and refuses what is none. An empty list is no key. Errors do not repeat what stands in place of a
// reference.
func ParseKeys(list string, resolve func(reference string) (string, error)) ([]Key, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	var keys []Key
	for entry := range strings.SplitSeq(list, ",") {
		id, reference, both := strings.Cut(strings.TrimSpace(entry), "=")
		if !both {
			return nil, export.Errorf(export.KindConfig, "key %d of the list has no id: write id=reference, such as k1=env:MILLRACE_CODEC_KEY or k1=file:/run/secrets/k1", len(keys)+1)
		}
		if slices.ContainsFunc(keys, func(key Key) bool { return key.ID == id }) {
			return nil, export.Errorf(export.KindConfig, "key %q is there twice: every key needs an id of its own", id)
		}
		secret, err := resolve(reference)
		if err != nil {
			return nil, export.Errorf(export.KindConfig, "key %q: %w", id, err)
		}
		key, err := NewKey(id, secret)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
