package s3

import (
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Types of encryption by the store.
const (
	encryptS3  = "sse-s3"
	encryptKMS = "sse-kms"
)

// encryption is a connection's block of how the store encrypts what is written:
//
//	{"type": "sse-kms", "key": "arn:aws:kms:eu-west-1:111122223333:key/…", "bucket_key": true}
//
// Without it the bucket's own setting holds.
type encryption struct {
	// Type is "sse-s3", a key of the store's own, or "sse-kms", one that its key service keeps.
	Type string `json:"type"`
	// Key names the key of sse-kms; left out, it is the bucket's, or the account's own for S3.
	Key string `json:"key,omitempty"`
	// BucketKey has S3 ask its key service once for many objects; false when left out.
	BucketKey bool `json:"bucket_key,omitempty"`
}

func readEncryption(block json.RawMessage) (*encryption, error) {
	if len(block) == 0 || string(block) == "null" {
		return nil, nil
	}
	var read encryption
	if err := destinations.DecodeBlock(block, &read, "type", "key", "bucket_key"); err != nil {
		return nil, export.Errorf(export.KindConfig, "encryption: %w", err)
	}
	switch {
	case read.Type == "":
		return nil, export.Errorf(export.KindConfig, "encryption: type is missing: use %s or %s, or leave out encryption for what the bucket has set", encryptS3, encryptKMS)
	case isReference(read.Type):
	case read.Type != encryptS3 && read.Type != encryptKMS:
		return nil, export.Errorf(export.KindConfig, "encryption: type: %q is unknown: use %s or %s", read.Type, encryptS3, encryptKMS)
	case read.Type == encryptS3 && read.Key != "":
		return nil, export.Errorf(export.KindConfig, "encryption: key: %q is given with %s, which has keys of its own: leave it out, or use %s", read.Key, encryptS3, encryptKMS)
	case read.Type == encryptS3 && read.BucketKey:
		return nil, export.Errorf(export.KindConfig, "encryption: bucket_key: true is given with %s, which asks no key service: leave it out, or use %s", encryptS3, encryptKMS)
	}
	return &read, nil
}

func (e *encryption) algorithm() types.ServerSideEncryption {
	switch {
	case e == nil:
		return ""
	case e.Type == encryptKMS:
		return types.ServerSideEncryptionAwsKms
	}
	return types.ServerSideEncryptionAes256
}

// of gives the headers of a write. All of them are nothing without encryption.
func (e *encryption) of() (algorithm types.ServerSideEncryption, key *string, bucketKey *bool) {
	if e == nil {
		return "", nil, nil
	}
	if e.Key != "" {
		key = aws.String(e.Key)
	}
	if e.BucketKey {
		bucketKey = aws.Bool(true)
	}
	return e.algorithm(), key, bucketKey
}

// put asks for encryption of an object that is written in one request.
func (e *encryption) put(request *s3.PutObjectInput) *s3.PutObjectInput {
	request.ServerSideEncryption, request.SSEKMSKeyId, request.BucketKeyEnabled = e.of()
	return request
}

// create asks for it as an upload in parts begins; parts and completion then go without.
func (e *encryption) create(request *s3.CreateMultipartUploadInput) *s3.CreateMultipartUploadInput {
	request.ServerSideEncryption, request.SSEKMSKeyId, request.BucketKeyEnabled = e.of()
	return request
}
