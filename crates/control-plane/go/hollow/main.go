// Command hollow runs one complete kubelet with a fake container runtime and fake measurements.
//
// It reads the configuration file as the kubelet does and uses the kubelet's directories. So it
// needs a mount namespace with its own /var/lib/kubelet and /etc/kubernetes. It serves its API at
// --node-ip, on the port of the configuration.
//
// Its containers run nothing. Each uses --millicores of CPU time. Its log is the file NAME.log in
// --logs, if it exists, which another process writes.
//
// On SIGHUP it restarts, like "systemctl restart kubelet". /var/lib/kubelet/pid has its process ID.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/configz"
	fakecri "k8s.io/cri-client/pkg/fake"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletscheme "k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	"k8s.io/kubernetes/pkg/kubemark"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"
)

type settings struct {
	name, nodeIP, config, kubeconfig, logs string
	millicores                             uint64
}

func main() {
	var s settings
	flag.StringVar(&s.name, "name", "", "name of the node")
	flag.StringVar(&s.nodeIP, "node-ip", "", "its address, which must be one of this machine")
	flag.StringVar(&s.config, "config", "/var/lib/kubelet/config.yaml", "KubeletConfiguration `file`")
	flag.StringVar(&s.kubeconfig, "kubeconfig", "/etc/kubernetes/kubelet.conf", "kubeconfig `file`")
	flag.StringVar(&s.logs, "logs", "", "`directory` with the logs of those who play containers")
	flag.Uint64Var(&s.millicores, "millicores", 80, "what each container uses")
	flag.Parse()

	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go restart(hangups)
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "hollow:", err)
		os.Exit(1)
	}
}

// restart executes the program again in the same process.
func restart(hangups <-chan os.Signal) {
	<-hangups
	fmt.Fprintln(os.Stderr, "hollow: restart:", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	os.Exit(1)
}

func run(ctx context.Context, s settings) error {
	flags := options.NewKubeletFlags()
	flags.HostnameOverride, flags.NodeIP = s.name, s.nodeIP
	config, err := configuration(ctx, s)
	if err != nil {
		return err
	}
	pid := filepath.Join(flags.RootDirectory, "pid")
	if err := os.WriteFile(pid, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return err
	}

	client, heartbeats, err := clients(s, config)
	if err != nil {
		return err
	}
	runtime := fakecri.NewFakeRemoteRuntime()
	config.ContainerRuntimeEndpoint = "unix://" + filepath.Join(flags.RootDirectory, "runtime.sock")
	if err := runtime.Start(config.ContainerRuntimeEndpoint); err != nil {
		return err
	}
	service, err := runtimeService(ctx, config.ContainerRuntimeEndpoint)
	if err != nil {
		return err
	}
	play := containers{
		runtime: runtime, logs: s.logs, written: filepath.Join(flags.RootDirectory, "container-logs"),
		millicores: s.millicores,
	}
	if err := play.begin(); err != nil {
		return err
	}

	kubelet := kubemark.NewHollowKubelet(
		flags, config, client, heartbeats, newMachine(s.name), runtime.ImageService, service,
		cm.NewStubContainerManager())
	kubelet.KubeletDeps.TLSOptions, err = kubeletapp.InitializeTLS(ctx, flags, config)
	if err != nil {
		return err
	}
	auth, reloadCAs, err := kubeletapp.BuildAuth(types.NodeName(s.name), client, *config)
	if err != nil {
		return err
	}
	reloadCAs(ctx.Done())
	kubelet.KubeletDeps.Auth = auth
	if err := publish(config); err != nil {
		return err
	}
	kubelet.Run(ctx)
	return errors.New("the kubelet has ended")
}

// configuration reads the file, and replaces the settings that need a machine of their own.
func configuration(ctx context.Context, s settings) (*kubeletconfig.KubeletConfiguration, error) {
	loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, s.config)
	if err != nil {
		return nil, err
	}
	config, err := loader.Load(ctx)
	if err != nil {
		return nil, err
	}
	config.Address = s.nodeIP
	config.FailCgroupV1 = false
	config.CgroupsPerQOS = false
	config.EnforceNodeAllocatable = nil
	config.EnableControllerAttachDetach = false
	config.LocalStorageCapacityIsolation = false
	config.ResolverConfig = ""
	config.ClusterDNS = nil
	config.MaxOpenFiles = 1024
	return config, nil
}

// publish registers the configuration for /configz.
func publish(config *kubeletconfig.KubeletConfiguration) error {
	published, err := configz.New("kubeletconfig")
	if err != nil {
		return err
	}
	scheme, _, err := kubeletscheme.NewSchemeAndCodecs()
	if err != nil {
		return err
	}
	versioned := &kubeletconfigv1beta1.KubeletConfiguration{}
	if err := scheme.Convert(config, versioned, nil); err != nil {
		return err
	}
	version := kubeletconfigv1beta1.SchemeGroupVersion
	versioned.SetGroupVersionKind(version.WithKind("KubeletConfiguration"))
	return set(published, versioned)
}

func clients(s settings, config *kubeletconfig.KubeletConfiguration) (client, heartbeats *kubernetes.Clientset, err error) {
	rest, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	rest.UserAgent = "kubelet/hollow"
	rest.QPS = -1
	if client, err = kubernetes.NewForConfig(rest); err != nil {
		return nil, nil, err
	}
	rest.Timeout = config.NodeStatusUpdateFrequency.Duration
	heartbeats, err = kubernetes.NewForConfig(rest)
	return client, heartbeats, err
}
