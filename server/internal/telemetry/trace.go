package telemetry

// TraceID is the trace-id of a traceparent header (W3C Trace Context, section
// 3.2), or "" for one that does not follow it to the letter: the id ends up in
// logs and in the audit record, where nothing of a caller's making may stand.
func TraceID(traceparent string) string {
	const (
		length  = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		traceAt = 3
		spanAt  = 36
		flagsAt = 53
	)
	if len(traceparent) < length {
		return ""
	}
	version := traceparent[:2]
	switch {
	case !lowerHex(version) || version == "ff":
		return ""
	case version == "00" && len(traceparent) != length:
		return ""
	case len(traceparent) > length && traceparent[length] != '-': // of a later version
		return ""
	case traceparent[traceAt-1] != '-' || traceparent[spanAt-1] != '-' || traceparent[flagsAt-1] != '-':
		return ""
	}
	trace, span := traceparent[traceAt:spanAt-1], traceparent[spanAt:flagsAt-1]
	if !lowerHex(trace) || !lowerHex(span) || !lowerHex(traceparent[flagsAt:length]) || zeros(trace) || zeros(span) {
		return ""
	}
	return trace
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
