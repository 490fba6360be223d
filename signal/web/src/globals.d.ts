// What the bundler defines, and platform interfaces that lib.dom lacks.

/** True only in the bundle for tests; false removes the code behind it. */
declare const SOTTO_TEST_HOOKS: boolean;

/** Path of the encryption worker's script, with its hash: "/assets/worker-….js". */
declare const SOTTO_WORKER_URL: string;

// Trusted Types (W3C), as far as used here.
interface TrustedScriptURL {
  toString(): string;
}

interface TrustedTypePolicy {
  createScriptURL(input: string): TrustedScriptURL;
}

interface TrustedTypePolicyFactory {
  createPolicy(name: string, rules: { createScriptURL: (input: string) => string }): TrustedTypePolicy;
}

interface Window {
  readonly trustedTypes?: TrustedTypePolicyFactory;
}

// WebRTC Extensions, RTP header extension control: Chromium has it, Firefox not.
interface RTCRtpHeaderExtensionToNegotiate {
  uri: string;
  direction: RTCRtpTransceiverDirection;
}

interface RTCRtpTransceiver {
  getHeaderExtensionsToNegotiate?(): RTCRtpHeaderExtensionToNegotiate[];
  setHeaderExtensionsToNegotiate?(extensions: RTCRtpHeaderExtensionToNegotiate[]): void;
}
