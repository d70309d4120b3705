//go:build before136

package main

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/component-base/configz"
	internalapi "k8s.io/cri-api/pkg/apis"
	cri "k8s.io/cri-client/pkg"
	"k8s.io/klog/v2"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

func runtimeService(ctx context.Context, endpoint string) (internalapi.RuntimeService, error) {
	logger := klog.FromContext(ctx)
	return cri.NewRemoteRuntimeService(endpoint, 15*time.Second, noop.NewTracerProvider(), &logger)
}

func set(published *configz.Config, config *kubeletconfigv1beta1.KubeletConfiguration) error {
	published.Set(config)
	return nil
}
