// Package codec encrypts what Millrace puts into Temporal: inputs, results, heartbeats, summaries and failures. Temporal
// then stores what only those who have a key can read.
package codec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/export"
)

// How an encrypted payload is marked. Both are read for as long as there are histories: they are never changed.
const (
	encoding      = "binary/encrypted"
	metadataKeyID = "encryption-key-id"
)

// Codec encrypts payloads with AES-256-GCM under its first key, and decrypts those of all its keys. A payload that is not
// encrypted is passed as it is, so that clear JSON typed into the Temporal UI works. It is safe for concurrent use.
type Codec struct {
	keys []Key
}

// New makes a codec of keys, of which the first encrypts. No id may be there twice; ParseKeys sees to it. A codec without keys
// encrypts nothing, and still tells what is encrypted from what is broken.
func New(keys ...Key) *Codec { return &Codec{keys: keys} }

// Encrypts tells whether there is a key to encrypt with.
func (c *Codec) Encrypts() bool { return len(c.keys) > 0 }

// Encode encrypts payloads, each with its metadata, under the first key. One that is encrypted already stays as it is, so
// that what passes twice is not wrapped twice. Without a key all stay as they are.
func (c *Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	if !c.Encrypts() {
		return payloads, nil
	}
	encoded := make([]*commonpb.Payload, len(payloads))
	for i, payload := range payloads {
		if isEncrypted(payload) {
			encoded[i] = payload
			continue
		}
		plain, err := proto.Marshal(payload)
		if err != nil {
			return nil, fmt.Errorf("encode a payload: %w", err)
		}
		key := c.keys[0]
		nonce := make([]byte, key.aead.NonceSize())
		_, _ = rand.Read(nonce) // never fails
		encoded[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encoding), metadataKeyID: []byte(key.ID)},
			// The id is bound to what it encrypted, so that a payload is never taken for another key's.
			Data: key.aead.Seal(nonce, nonce, plain, []byte(key.ID)),
		}
	}
	return encoded, nil
}

// Decode decrypts payloads by the key that each names. The error of one that cannot be decrypted is of kind config, names the
// key, and tells a key that is missing from one that is another than it was encrypted with.
func (c *Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	decoded := make([]*commonpb.Payload, len(payloads))
	for i, payload := range payloads {
		if !isEncrypted(payload) {
			decoded[i] = payload
			continue
		}
		var err error
		if decoded[i], err = c.decrypt(payload); err != nil {
			return nil, err
		}
	}
	return decoded, nil
}

func (c *Codec) decrypt(payload *commonpb.Payload) (*commonpb.Payload, error) {
	id := string(payload.GetMetadata()[metadataKeyID])
	for _, key := range c.keys {
		if key.ID != id {
			continue
		}
		size := key.aead.NonceSize()
		if len(payload.GetData()) < size {
			return nil, export.Errorf(export.KindConfig, "a payload that is encrypted with key %q is cut short: its %d bytes cannot be decrypted", id, len(payload.GetData()))
		}
		plain, err := key.aead.Open(nil, payload.Data[:size], payload.Data[size:], []byte(id))
		if err != nil {
			return nil, export.Errorf(export.KindConfig, "a payload is encrypted with another key %q than the one here: give the key that had this id in MILLRACE_CODEC_KEYS, and a new key a new id", id)
		}
		decrypted := &commonpb.Payload{}
		if err := proto.Unmarshal(plain, decrypted); err != nil {
			return nil, fmt.Errorf("decode a payload that was encrypted with key %q: %w", id, err)
		}
		return decrypted, nil
	}
	if !c.Encrypts() {
		return nil, export.Errorf(export.KindConfig, "a payload is encrypted with key %q, and there is no key here: set MILLRACE_CODEC_KEYS as it is where that was encrypted", id)
	}
	return nil, export.Errorf(export.KindConfig, "a payload is encrypted with key %q, and the keys here are %s: add that key to MILLRACE_CODEC_KEYS, behind the first", id, c.ids())
}

func (c *Codec) ids() string {
	var ids []string
	for _, key := range c.keys {
		ids = append(ids, fmt.Sprintf("%q", key.ID))
	}
	return strings.Join(ids, ", ")
}

func isEncrypted(payload *commonpb.Payload) bool {
	return string(payload.GetMetadata()[converter.MetadataEncoding]) == encoding
}

// Seal tells how a payload is encoded, for people: the key's id for an encrypted one, empty for one in clear.
func Seal(payload *commonpb.Payload) string {
	if !isEncrypted(payload) {
		return ""
	}
	return string(payload.GetMetadata()[metadataKeyID])
}

func newAEAD(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
