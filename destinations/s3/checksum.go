package s3

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/minio/crc64nvme"
)

// CRC64NVME is the one checksum of S3 that covers the whole of an object that was uploaded in parts:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html

// checksumText is a checksum in the form of S3's headers.
func checksumText(sum uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))
}

func checksumOf(content []byte) string { return checksumText(crc64nvme.Checksum(content)) }

// addChecksum continues a checksum over the next bytes; it begins at 0.
func addChecksum(sum uint64, next []byte) uint64 { return crc64nvme.Update(sum, next) }

// checksumPrefix names the algorithm in receipts.
const checksumPrefix = "crc64nvme:"
