package s3

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc64"
)

// nvme is the polynomial of CRC64NVME, the one checksum of S3 that covers the whole of an object that was uploaded in
// parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
var nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// checksumText is a checksum in the form of S3's headers.
func checksumText(sum uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sum))
}

func checksumOf(content []byte) string { return checksumText(crc64.Checksum(content, nvme)) }

// checksumPrefix names the algorithm in receipts.
const checksumPrefix = "crc64nvme:"
