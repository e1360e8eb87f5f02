package failpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"
)

// listen takes lists at a Unix socket for as long as the process lives. A file that a process before left there is
// replaced.
func listen(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			take(conn)
		}
	}()
	return nil
}

// take arms what a connection brings.
func take(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // who says nothing keeps others out no longer
	text, err := io.ReadAll(conn)
	if err != nil {
		return
	}
	points, err := parse(string(text))
	if err != nil {
		fmt.Fprint(conn, err)
		return
	}
	if before := armed.Swap(&points); before != nil {
		for _, p := range *before {
			p.free()
		}
	}
	fmt.Fprint(conn, said)
}

const said = "armed"

// ArmProcess arms a process that listens at a socket; see SocketVariable. It returns when the process has armed the list.
func ArmProcess(path, list string) error {
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return fmt.Errorf("arm failpoints: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, list); err != nil {
		return fmt.Errorf("arm failpoints: %w", err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return fmt.Errorf("arm failpoints: %w", err)
	}
	answer, err := io.ReadAll(conn)
	switch {
	case err != nil:
		return fmt.Errorf("arm failpoints: %w", err)
	case string(answer) != said:
		return fmt.Errorf("arm failpoints: %s", answer)
	}
	return nil
}
