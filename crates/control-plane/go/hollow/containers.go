package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	critest "k8s.io/cri-api/pkg/apis/testing"
	fakecri "k8s.io/cri-client/pkg/fake"
)

// containers sets figures and logs of the containers in the fake runtime.
type containers struct {
	runtime       *fakecri.RemoteRuntime
	logs, written string
	millicores    uint64
}

func (c containers) begin() error {
	if err := os.MkdirAll(c.written, 0o755); err != nil {
		return err
	}
	usage := []*runtimeapi.FilesystemUsage{{
		Timestamp: time.Now().UnixNano(),
		FsId:      &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
		UsedBytes: &runtimeapi.UInt64Value{Value: gibibyte}, InodesUsed: &runtimeapi.UInt64Value{Value: 1},
	}}
	c.runtime.ImageService.SetFakeFilesystemUsage(usage)
	c.runtime.ImageService.SetFakeContainerFilesystemUsage(usage)
	go func() {
		for range time.Tick(500 * time.Millisecond) {
			c.look()
		}
	}()
	return nil
}

func (c containers) look() {
	service := c.runtime.RuntimeService
	service.Lock()
	defer service.Unlock()
	// The fake records every call and never forgets one.
	service.Called = nil
	for id, container := range service.Containers {
		service.FakeContainerStats[id] = c.figures(container)
		if err := c.log(container); err != nil {
			fmt.Fprintln(os.Stderr, "hollow: log:", err)
		}
	}
}

func (c containers) figures(container *critest.FakeContainer) *runtimeapi.ContainerStats {
	now := time.Now()
	since := time.Unix(0, container.CreatedAt)
	return &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id: container.Id, Metadata: container.Metadata, Labels: container.Labels,
			Annotations: container.Annotations,
		},
		Cpu: &runtimeapi.CpuUsage{
			Timestamp:            now.UnixNano(),
			UsageCoreNanoSeconds: &runtimeapi.UInt64Value{Value: used(c.millicores, since, now)},
			UsageNanoCores:       &runtimeapi.UInt64Value{Value: c.millicores * 1e6},
		},
		Memory: &runtimeapi.MemoryUsage{
			Timestamp: now.UnixNano(), WorkingSetBytes: &runtimeapi.UInt64Value{Value: gibibyte / 32},
		},
	}
}

// log writes the output of a container in the format of container runtimes, with a time before each
// line.
func (c containers) log(container *critest.FakeContainer) error {
	name := container.Metadata.Name
	said, err := os.ReadFile(filepath.Join(c.logs, name+".log"))
	if err != nil {
		said = []byte("started\n")
	}
	prefix := time.Unix(0, container.CreatedAt).UTC().Format(time.RFC3339Nano) + " stdout F "
	var lines bytes.Buffer
	for line := range bytes.Lines(said) {
		if bytes.HasSuffix(line, []byte("\n")) {
			lines.WriteString(prefix)
			lines.Write(line)
		}
	}
	container.LogPath = filepath.Join(c.written, container.Id+".log")
	fresh := container.LogPath + ".fresh"
	if err := os.WriteFile(fresh, lines.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, container.LogPath)
}
