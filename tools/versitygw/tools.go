//go:build tools

// Package versitygw pins the S3 gateway that serves a folder as a bucket.
package versitygw

import _ "github.com/versity/versitygw/cmd/versitygw"
