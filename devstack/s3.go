package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sys/unix"
)

const (
	s3Bucket    = "millrace"
	s3AccessKey = "millrace"
	s3SecretKey = "millrace-secret"
	s3Region    = "us-east-1"
)

// S3 is versitygw, which serves a folder as buckets.
type S3 struct{}

// Name implements Part.
func (S3) Name() string { return "s3" }

// Ports implements Part.
func (S3) Ports() []Port { return []Port{{Name: "s3", Default: 7070, Scheme: "http"}} }

// Tools implements Part.
func (S3) Tools() []Tool {
	return []Tool{GoTool{Binary: "versitygw", Folder: "tools/versitygw", Module: "github.com/versity/versitygw", Package: "github.com/versity/versitygw/cmd/versitygw"}}
}

// Command implements Part. Object metadata is kept in extended attributes, or beside the objects where the
// file system has none. Tests make accounts, whose end is to be known at once: no cache of them is kept.
func (S3) Command(site Site) (Command, error) {
	buckets := filepath.Join(site.Dir, "buckets")
	if err := os.MkdirAll(buckets, 0o755); err != nil {
		return Command{}, fmt.Errorf("make the folder of buckets: %w", err)
	}
	accounts := filepath.Join(site.Dir, "accounts")
	if err := os.MkdirAll(accounts, 0o700); err != nil {
		return Command{}, fmt.Errorf("make the folder of accounts: %w", err)
	}
	args := []string{"--port", site.Addr("s3"), "--region", s3Region, "--iam-dir", accounts, "--iam-cache-disable", "--quiet", "posix"}
	if !hasAttributes(buckets) {
		sidecar := filepath.Join(site.Dir, "metadata")
		if err := os.MkdirAll(sidecar, 0o755); err != nil {
			return Command{}, fmt.Errorf("make the folder of object metadata: %w", err)
		}
		args = append(args, "--sidecar", sidecar)
	}
	return Command{
		Program: site.Tools["versitygw"],
		Args:    append(args, buckets),
		Env:     []Variable{{"ROOT_ACCESS_KEY", s3AccessKey}, {"ROOT_SECRET_KEY", s3SecretKey}},
	}, nil
}

func hasAttributes(dir string) bool {
	const name = "user.millrace"
	if err := unix.Setxattr(dir, name, []byte("1"), 0); err != nil {
		return false
	}
	return unix.Removexattr(dir, name) == nil
}

// Ready implements Part: the bucket is there, made if need be, and a signed request finds it.
func (S3) Ready(ctx context.Context, site Site) error { return bucketReady(ctx, site) }

func bucketReady(ctx context.Context, site Site) error {
	client := s3.New(s3.Options{
		BaseEndpoint:     aws.String("http://" + site.Addr("s3")),
		Region:           s3Region,
		UsePathStyle:     true,
		Credentials:      credentials.NewStaticCredentialsProvider(s3AccessKey, s3SecretKey, ""),
		RetryMaxAttempts: 1,
	})
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(s3Bucket)})
	var mine *types.BucketAlreadyOwnedByYou
	var exists *types.BucketAlreadyExists
	if err != nil && !errors.As(err, &mine) && !errors.As(err, &exists) {
		return err
	}
	_, err = client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String(s3Bucket)})
	return err
}

// Variables implements Part.
func (S3) Variables(site Site) []Variable {
	return []Variable{
		{"MILLRACE_S3_ENDPOINT", "http://" + site.Addr("s3")},
		{"MILLRACE_S3_BUCKET", s3Bucket},
		{"AWS_ACCESS_KEY_ID", s3AccessKey},
		{"AWS_SECRET_ACCESS_KEY", s3SecretKey},
		{"AWS_REGION", s3Region},
	}
}
