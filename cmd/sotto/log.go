package main

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Whatever is logged below passes no address, name, key or session description.

// devLogger writes lines for a terminal.
func devLogger(w io.Writer, level string) (*zap.Logger, zap.AtomicLevel, error) {
	return newLogger(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), w, level)
}

// serviceLogger writes JSON, one object a line. The level can be changed.
func serviceLogger(w io.Writer, level string) (*zap.Logger, zap.AtomicLevel, error) {
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	return newLogger(zapcore.NewJSONEncoder(cfg), w, level)
}

func newLogger(encoder zapcore.Encoder, w io.Writer, level string) (*zap.Logger, zap.AtomicLevel, error) {
	l, err := zap.ParseAtomicLevel(level)
	if err != nil {
		return nil, l, err
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), l)), l, nil
}
