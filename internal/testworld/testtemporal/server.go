package testtemporal

import (
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/internal/testworld"
)

// Server is a dev server of a test's own, which may be killed, and started again with what it had stored.
type Server struct {
	// Address is where it listens, as host:port, each time that it is started.
	Address string

	t       testing.TB
	folder  string
	port    int
	command *exec.Cmd
}

// NewServer makes one on a free port, which is killed when the test ends. Start starts it.
func NewServer(t testing.TB) *Server {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, folder: t.TempDir(), port: free.Addr().(*net.TCPAddr).Port, Address: free.Addr().String()}
	_ = free.Close()
	t.Cleanup(s.Kill)
	return s
}

// Start starts it; Dial waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.command = exec.Command("temporal", "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", strconv.Itoa(s.port),
		"--db-filename", filepath.Join(s.folder, "temporal.db"), "--log-level", "never", "--disable-config-file", "--disable-config-env")
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill kills it, if it runs.
func (s *Server) Kill() {
	if s.command != nil {
		_ = s.command.Process.Kill()
		_ = s.command.Wait()
		s.command = nil
	}
}

// Dial connects to its namespace "default"; the client is closed when the test ends.
func (s *Server) Dial() client.Client {
	s.t.Helper()
	var connected client.Client
	testworld.Eventually(s.t, time.Minute, func() (err error) {
		connected, err = client.Dial(client.Options{HostPort: s.Address, Logger: Quiet{}})
		return err
	})
	s.t.Cleanup(connected.Close)
	return connected
}
