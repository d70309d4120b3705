package main

import (
	"context"
	"time"

	cadvisor "github.com/google/cadvisor/info/v1"
	cadvisorv2 "github.com/google/cadvisor/info/v2"
	cadvisortest "k8s.io/kubernetes/pkg/kubelet/cadvisor/testing"
)

const (
	gibibyte = 1 << 30
	// machineMillicores is the CPU use of the machine, which has one core.
	machineMillicores = 250
)

// machine is the machine that the kubelet measures: one core, a quarter of it in use, and
// half-empty disks.
type machine struct {
	*cadvisortest.Fake
	begun time.Time
}

func newMachine(name string) machine {
	return machine{Fake: &cadvisortest.Fake{NodeName: name}, begun: time.Now()}
}

func (m machine) ContainerInfoV2(name string, _ cadvisorv2.RequestOptions) (map[string]cadvisorv2.ContainerInfo, error) {
	now := time.Now()
	usage := cadvisor.CpuUsage{Total: used(machineMillicores, m.begun, now)}
	stats := &cadvisorv2.ContainerStats{
		Timestamp: now,
		Cpu:       &cadvisor.CpuStats{Usage: usage},
		CpuInst:   &cadvisorv2.CpuInstStats{Usage: cadvisorv2.CpuInstUsage{Total: machineMillicores * 1e6}},
		Memory:    &cadvisor.MemoryStats{Usage: gibibyte, WorkingSet: gibibyte, RSS: gibibyte},
	}
	spec := cadvisorv2.ContainerSpec{CreationTime: m.begun, HasCpu: true, HasMemory: true}
	return map[string]cadvisorv2.ContainerInfo{name: {Spec: spec, Stats: []*cadvisorv2.ContainerStats{stats}}}, nil
}

// used returns CPU time in nanoseconds. Every reader rounds it up, so it is half a millicore lower.
func used(millicores uint64, since, now time.Time) uint64 {
	return uint64(now.Sub(since).Milliseconds()) * (millicores*1000 - 500)
}

func disk() (cadvisorv2.FsInfo, error) {
	inodes, free := uint64(1<<20), uint64(1<<19)
	return cadvisorv2.FsInfo{
		Timestamp: time.Now(), Capacity: 64 * gibibyte, Available: 32 * gibibyte, Usage: 32 * gibibyte,
		Inodes: &inodes, InodesFree: &free,
	}, nil
}

func (machine) ImagesFsInfo(context.Context) (cadvisorv2.FsInfo, error)    { return disk() }
func (machine) ContainerFsInfo(context.Context) (cadvisorv2.FsInfo, error) { return disk() }
func (machine) RootFsInfo() (cadvisorv2.FsInfo, error)                     { return disk() }
func (machine) GetDirFsInfo(string) (cadvisorv2.FsInfo, error)             { return disk() }
