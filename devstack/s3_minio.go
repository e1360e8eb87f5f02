package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	// s3Variable chooses the S3, and is no flag so that it reaches any devstack that make starts.
	s3Variable = "S3"
	// minioKey is the one key that MinIO encrypts with, also what SSE-S3 is; its secret protects nothing.
	minioKey = "millrace-key"
	// minioDomain is under which a bucket has a host name: a bucket lake answers at lake.localhost.
	minioDomain = "localhost"
)

// chooseS3 is the S3 part that the environment asks for, or an error that says what may be asked for.
func chooseS3(environment func(string) string) (Part, error) {
	switch kind := environment(s3Variable); kind {
	case "minio":
		return MinIO{}, nil
	case "", "versitygw":
		return S3{}, nil
	default:
		return nil, fmt.Errorf("%s is %q, which is no S3 that devstack has: set it to minio or versitygw, or leave it out", s3Variable, kind)
	}
}

// MinIO is the S3 server that does what versitygw leaves out: it encrypts by key (SSE-S3 and SSE-KMS), gives out
// credentials that expire (STS), and knows a bucket by its host name.
type MinIO struct{}

// Name implements Part.
func (MinIO) Name() string { return S3{}.Name() }

// Ports implements Part.
func (MinIO) Ports() []Port { return S3{}.Ports() }

// Tools implements Part.
func (MinIO) Tools() []Tool {
	return []Tool{GoTool{Binary: "minio", Folder: "tools/minio", Module: "github.com/minio/minio", Package: "github.com/minio/minio"}}
}

// Command implements Part.
func (MinIO) Command(site Site) (Command, error) {
	buckets := filepath.Join(site.Dir, "minio")
	if err := os.MkdirAll(buckets, 0o755); err != nil {
		return Command{}, fmt.Errorf("make the folder of buckets: %w", err)
	}
	return Command{
		Program: site.Tools["minio"],
		Args:    []string{"server", "--quiet", "--address", site.Addr("s3"), "--certs-dir", filepath.Join(site.Dir, "certs"), buckets},
		Env: []Variable{
			{"MINIO_ROOT_USER", s3AccessKey}, {"MINIO_ROOT_PASSWORD", s3SecretKey}, {"MINIO_SITE_REGION", s3Region},
			{"MINIO_KMS_SECRET_KEY", minioKey + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))},
			{"MINIO_DOMAIN", minioDomain},
			{"MINIO_BROWSER", "off"}, {"MINIO_UPDATE", "off"}, // no console, and no look for a newer one
		},
	}, nil
}

// Ready implements Part, as S3 does.
func (MinIO) Ready(ctx context.Context, site Site) error { return bucketReady(ctx, site) }

// Variables implements Part: those of S3, the key to encrypt with, and under which domain buckets have host names.
func (MinIO) Variables(site Site) []Variable {
	return append(S3{}.Variables(site), Variable{"MILLRACE_S3_KMS_KEY", minioKey}, Variable{"MILLRACE_S3_DOMAIN", minioDomain})
}
