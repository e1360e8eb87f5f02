package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// What millrace.yaml beside this file says; a test holds the two together.
const (
	configFile   = "examples/demo/millrace.yaml"
	projectToken = "mr_demo"
	teamID       = 1
	exportName   = "flights"
	exportPrefix = "demo"
)

const millraceProgram = "bin/millrace"

// Product is `millrace up` as a child process.
type Product struct {
	Endpoint string // where clients send events
	Log      string
	command  *exec.Cmd
	ended    chan struct{}
}

// startProduct starts `millrace up`, whose end before its time ends ctx through lost.
func startProduct(log string, lost context.CancelCauseFunc) (*Product, error) {
	address, err := listenAddress()
	if err != nil {
		return nil, err
	}
	output, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make the log of millrace: %w", err)
	}
	defer output.Close()
	command := exec.Command(millraceProgram, "up", "--config", configFile, "--listen", address)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start millrace up: %w", err)
	}
	product := &Product{Endpoint: "http://" + address, Log: log, command: command, ended: make(chan struct{})}
	go func() {
		err := command.Wait()
		close(product.ended)
		lost(fmt.Errorf("millrace up ended before its time: %w; the end of its log, %s:\n%s", endedBy(err), log, product.tail()))
	}()
	return product, nil
}

func endedBy(err error) error {
	if err == nil {
		return errors.New("with exit code 0")
	}
	return err
}

// listenAddress is the port that people know, or a free one when it is taken.
func listenAddress() (string, error) {
	for _, address := range []string{"127.0.0.1:8000", "127.0.0.1:0"} {
		listener, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("find a port for capture: %w", err)
		}
		defer listener.Close()
		return listener.Addr().String(), nil
	}
	return "", errors.New("find a port for capture: all are taken")
}

// AwaitReady waits until capture has reached Kafka.
func (p *Product) AwaitReady(ctx context.Context) error {
	return await(ctx, "millrace up", time.Minute, func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Endpoint+"/readyz", nil)
		if err != nil {
			return "", err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err.Error(), nil // it does not listen yet
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return "/readyz answers " + answer.Status, nil
		}
		return "", nil
	})
}

// Stop has millrace drain, and waits for it. Stopping twice does no harm.
func (p *Product) Stop() error {
	if err := p.command.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop millrace: %w", err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(95 * time.Second): // it drains for up to 90 s
	}
	p.command.Process.Kill()
	<-p.ended
	return errors.New("millrace did not drain within 95 s of an interrupt and was killed")
}

// tail is the end of its log.
func (p *Product) tail() string {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// run runs a command as a person would, and gives what it printed. Its error has what it said.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	var output, said bytes.Buffer
	command.Stdout, command.Stderr = &output, &said
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w: %s", commandLine(name, args), err, strings.TrimSpace(said.String()+output.String()))
	}
	return output.String(), nil
}

func commandLine(name string, args []string) string {
	return strings.Join(append([]string{name}, args...), " ")
}
