package transport

import (
	"sync/atomic"

	"github.com/pion/logging"
)

// silence is the logger given to pion: its lines hold addresses, so that none
// may be written. Warnings and errors are counted.
type silence struct{ warnings atomic.Uint64 }

// NewLogger implements logging.LoggerFactory.
func (s *silence) NewLogger(string) logging.LeveledLogger { return s }

func (*silence) Trace(string)            {}
func (*silence) Tracef(string, ...any)   {}
func (*silence) Debug(string)            {}
func (*silence) Debugf(string, ...any)   {}
func (*silence) Info(string)             {}
func (*silence) Infof(string, ...any)    {}
func (s *silence) Warn(string)           { s.warnings.Add(1) }
func (s *silence) Warnf(string, ...any)  { s.warnings.Add(1) }
func (s *silence) Error(string)          { s.warnings.Add(1) }
func (s *silence) Errorf(string, ...any) { s.warnings.Add(1) }
