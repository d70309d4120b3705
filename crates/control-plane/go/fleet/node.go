package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientcertificate "k8s.io/client-go/util/certificate"
	nodeutil "k8s.io/component-helpers/node/util"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletcertificate "k8s.io/kubernetes/pkg/kubelet/certificate"
)

// node is the state of one kubelet.
type node struct {
	name, dir string
	client    kubernetes.Interface
	addresses atomic.Pointer[[]v1.NodeAddress]

	mu      sync.Mutex // guards all below
	manager clientcertificate.Manager
	started time.Time
	starts  int
	serial  string
	waits   bool
}

func addressesOf(name string, i int, o options) *[]v1.NodeAddress {
	addresses := []v1.NodeAddress{
		{Type: v1.NodeHostName, Address: name},
		{Type: v1.NodeInternalIP, Address: fmt.Sprintf("10.%d.%d.%d", 128+i/62500, i/250%250, i%250+1)},
	}
	if o.dualStack {
		ip := net.ParseIP("fd00:128::")
		ip[14], ip[15] = byte(i>>8), byte(i)
		addresses = append(addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip.String()})
	}
	if o.dnsSuffix != "" {
		addresses = append(addresses, v1.NodeAddress{Type: v1.NodeInternalDNS, Address: name + "." + o.dnsSuffix})
	}
	return &addresses
}

// start registers every node and starts its manager, `parallel` at a time.
func (f *fleet) start(ctx context.Context, parallel int, spread time.Duration) {
	begun := time.Now()
	places := make(chan struct{}, parallel)
	for i, n := range f.nodes {
		at := begun.Add(spread * time.Duration(i) / time.Duration(len(f.nodes)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(at)):
		}
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			for ctx.Err() == nil {
				err := n.register(ctx)
				if err == nil {
					f.say(event{Event: "node-created", Node: n.name})
					err = n.startManager()
				}
				if err == nil {
					return
				}
				f.fail(n.name, err)
				time.Sleep(time.Second)
			}
		}()
	}
}

// register creates the Node as the node itself, then reports the addresses in its status.
func (n *node) register(ctx context.Context) error {
	fresh := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.name,
			Labels: map[string]string{
				v1.LabelHostname:   n.name,
				v1.LabelOSStable:   runtime.GOOS,
				v1.LabelArchStable: runtime.GOARCH,
			},
		},
	}
	created, err := n.client.CoreV1().Nodes().Create(ctx, fresh, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		created, err = n.client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
	}
	if err != nil {
		return fmt.Errorf("create node: %w", err)
	}
	return n.report(ctx, created)
}

// report writes the status with the kubelet's own call, which replaces the list of addresses.
func (n *node) report(ctx context.Context, seen *v1.Node) error {
	now := metav1.Now()
	want := seen.DeepCopy()
	want.Status.Addresses = *n.addresses.Load()
	want.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
	want.Status.Conditions = []v1.NodeCondition{{
		Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	_, _, err := nodeutil.PatchNodeStatus(n.client.CoreV1(), types.NodeName(n.name), seen, want)
	if err != nil {
		return fmt.Errorf("report addresses: %w", err)
	}
	return nil
}

// startManager starts the kubelet's certificate manager on an empty directory.
func (n *node) startManager() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	// A directory for each start, because the previous manager may still write its certificate.
	n.starts++
	dir := filepath.Join(n.dir, fmt.Sprintf("start-%d", n.starts))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	getAddresses := func() []v1.NodeAddress { return *n.addresses.Load() }
	manager, err := kubeletcertificate.NewKubeletServerCertificateManager(
		n.client, &kubeletconfig.KubeletConfiguration{}, types.NodeName(n.name), getAddresses, dir)
	if err != nil {
		return err
	}
	n.manager, n.started = manager, time.Now()
	manager.Start()
	return nil
}

// rotate discards the certificate of each node and requests a new one.
func (f *fleet) rotate(nodes []*node) {
	for _, n := range nodes {
		n.mu.Lock()
		running := n.manager != nil
		if running {
			n.manager.Stop()
			n.manager = nil
			_ = os.RemoveAll(n.dir)
		}
		n.mu.Unlock()
		if !running {
			continue // not started yet: it has nothing to forget
		}
		f.expect(n)
		if err := n.startManager(); err != nil {
			f.fail(n.name, err)
		}
	}
}

// readdress reports new InternalIPs. The manager itself detects that its certificate lacks them.
func (f *fleet) readdress(ctx context.Context, n *node, ips []string) {
	var addresses []v1.NodeAddress
	for _, a := range *n.addresses.Load() {
		if a.Type != v1.NodeInternalIP {
			addresses = append(addresses, a)
		}
	}
	for _, ip := range ips {
		addresses = append(addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip})
	}
	n.addresses.Store(&addresses)
	f.expect(n)
	if err := n.register(ctx); err != nil {
		f.fail(n.name, err)
	}
}

// expect records that a certificate is due, for the next "all-issued".
func (f *fleet) expect(n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.waits {
		n.waits = true
		f.waiting++
	}
}

// watchCertificates reports when a node holds a new certificate. The managers send no notification,
// so it polls: every millisecond for a few nodes, every 5 ms for many, to limit the cost.
func (f *fleet) watchCertificates(ctx context.Context) {
	every := time.Millisecond
	if len(f.nodes) > 200 {
		every = 5 * time.Millisecond
	}
	for range time.Tick(every) {
		if ctx.Err() != nil {
			return
		}
		for _, n := range f.nodes {
			f.look(n)
		}
	}
}

func (f *fleet) look(n *node) {
	n.mu.Lock()
	manager, started, known := n.manager, n.started, n.serial
	n.mu.Unlock()
	if manager == nil {
		return
	}
	current := manager.Current()
	if current == nil {
		return
	}
	serial := current.Leaf.SerialNumber.Text(16)
	if serial == known {
		return
	}
	millis := float64(time.Since(started).Microseconds()) / 1000
	sans := append([]string{}, current.Leaf.DNSNames...)
	for _, ip := range current.Leaf.IPAddresses {
		sans = append(sans, ip.String())
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.manager != manager {
		return // restarted meanwhile
	}
	n.serial = serial
	f.sayLocked(event{
		Event: "issued", Node: n.name, Serial: serial, SANs: sans, Millis: millis,
		NotAfter: current.Leaf.NotAfter.UTC().Format(time.RFC3339),
	})
	if n.waits {
		n.waits = false
		f.waiting--
		if f.waiting == 0 {
			f.sayLocked(event{Event: "all-issued", Nodes: len(f.nodes)})
		}
	}
}
