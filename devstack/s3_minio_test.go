package main

import (
	"bytes"
	"os"
	"testing"
)

func TestTheEnvironmentChoosesS3(t *testing.T) {
	for kind, want := range map[string]Part{"": S3{}, "versitygw": S3{}, "minio": MinIO{}, "MinIO": nil} {
		t.Setenv("S3", kind)
		got, err := chooseS3(os.Getenv)
		if got != want || (err == nil) != (want != nil) {
			t.Errorf("S3=%s: %v, %v; want %v", kind, got, err, want)
		}
		if _, parseErr := parseOptions(nil, &bytes.Buffer{}); (parseErr == nil) != (err == nil) {
			t.Errorf("S3=%s: devstack says %v", kind, parseErr)
		}
	}
}
