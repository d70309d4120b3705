package main

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apimachinery/pkg/runtime"
	internalapi "k8s.io/cri-api/pkg/apis"
	cri "k8s.io/cri-client/pkg"
	"k8s.io/klog/v2"
)

// Declarations that differ between Kubernetes 1.36 and older versions.

func runtimeService(ctx context.Context, endpoint string) (internalapi.RuntimeService, error) {
	const patience = 15 * time.Second
	tracer := noop.NewTracerProvider()
	switch create := any(cri.NewRemoteRuntimeService).(type) {
	case func(context.Context, string, time.Duration, trace.TracerProvider, bool) (internalapi.RuntimeService, error):
		return create(ctx, endpoint, patience, tracer, false)
	case func(string, time.Duration, trace.TracerProvider, *klog.Logger) (internalapi.RuntimeService, error):
		logger := klog.FromContext(ctx)
		return create(endpoint, patience, tracer, &logger)
	default:
		return nil, fmt.Errorf("NewRemoteRuntimeService is %T", create)
	}
}

func set(published any, config runtime.Object) error {
	switch published := published.(type) {
	case interface{ Set(runtime.Object) error }:
		return published.Set(config)
	case interface{ Set(any) }:
		published.Set(config)
		return nil
	default:
		return fmt.Errorf("a configuration is published by %T", published)
	}
}
