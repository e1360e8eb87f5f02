package main

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestNoSecretIsInTheErrorOfAQuestion(t *testing.T) {
	server := httptest.NewServer(nil)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	_, err = World{ClickHouse: address, Database: "millrace"}.query(context.Background(), "SELECT 1", map[string]string{"secret": "hush"})
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("the error is %v", err)
	}
}
