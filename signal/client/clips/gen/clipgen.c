/*
 * clipgen writes the clips that native participants publish: one moving picture as three VP8 streams (L1T3) and one
 * second of a voice-like sound as Opus, all in IVF containers, and clip.json, which says what each frame refers to.
 *
 *   cc -O2 -o clipgen clipgen.c -lvpx -lopus -lm && ./clipgen <directory>
 *
 * The output depends on the versions of libvpx and libopus only: one thread, no clock, no randomness.
 */
#include <math.h>
#include <opus/opus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

enum { FPS = 15, FRAMES = 32, PERIOD = 4, AUDIO_FRAMES = 50, AUDIO_SAMPLES = 960 };

static const double pi = 3.14159265358979323846;

struct layer { const char *name; int width, height, kbps; };
static const struct layer layers[] = {{"q", 320, 180, 110}, {"h", 640, 360, 330}, {"f", 1280, 720, 800}};

/*
 * Temporal layers 0-2-1-2. LAST belongs to layer 0, GOLDEN to layer 1, layer 2 updates nothing. Layers 1 and 2 leave the
 * entropy contexts alone, so that a decoder that never sees them stays in step.
 */
struct step { int tid; const char *refs, *updates; vpx_enc_frame_flags_t flags; };
static const struct step pattern[PERIOD] = {
    {0, "L", "L", VP8_EFLAG_NO_REF_GF | VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_GF | VP8_EFLAG_NO_UPD_ARF},
    {2, "L", "", VP8_EFLAG_NO_REF_GF | VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_LAST | VP8_EFLAG_NO_UPD_GF |
                     VP8_EFLAG_NO_UPD_ARF | VP8_EFLAG_NO_UPD_ENTROPY},
    {1, "L", "G", VP8_EFLAG_NO_REF_GF | VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_LAST | VP8_EFLAG_NO_UPD_ARF |
                      VP8_EFLAG_NO_UPD_ENTROPY},
    {2, "LG", "", VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_LAST | VP8_EFLAG_NO_UPD_GF | VP8_EFLAG_NO_UPD_ARF |
                      VP8_EFLAG_NO_UPD_ENTROPY},
};

static void die(const char *what) { fprintf(stderr, "clipgen: %s\n", what); exit(1); }

static void put16(uint8_t *p, unsigned v) { p[0] = v; p[1] = v >> 8; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v & 0xffff); put16(p + 2, v >> 16); }

static void ivf_header(FILE *f, const char *fourcc, int w, int h, int rate, int scale, int frames) {
	uint8_t b[32] = {'D', 'K', 'I', 'F'};
	put16(b + 6, 32);
	memcpy(b + 8, fourcc, 4);
	put16(b + 12, w);
	put16(b + 14, h);
	put32(b + 16, rate);
	put32(b + 20, scale);
	put32(b + 24, frames);
	if (fwrite(b, 32, 1, f) != 1) die("write");
}

static void ivf_frame(FILE *f, const void *data, size_t n, uint32_t pts) {
	uint8_t b[12] = {0};
	put32(b, n);
	put32(b + 4, pts);
	if (fwrite(b, 12, 1, f) != 1 || fwrite(data, n, 1, f) != 1) die("write");
}

/* draw paints frame i: colour bars that drift, a disc on a circle and a bar that counts the frames. */
static void draw(vpx_image_t *img, int i) {
	const double t = 2 * pi * i / FRAMES, s = img->d_h / 180.0;
	const double cx = img->d_w * (0.5 + 0.3 * cos(t)), cy = img->d_h * (0.5 + 0.25 * sin(t)), r = 28 * s;
	for (unsigned y = 0; y < img->d_h; y++)
		for (unsigned x = 0; x < img->d_w; x++) {
			const unsigned bar = (unsigned)(x * 8 / img->d_w + i / 4) % 8;
			int l = 40 + 22 * (int)bar;
			if ((x - cx) * (x - cx) + (y - cy) * (y - cy) < r * r) l = 230;
			if (y > img->d_h * 9 / 10) l = x < img->d_w * (unsigned)(i + 1) / FRAMES ? 210 : 30;
			img->planes[VPX_PLANE_Y][y * img->stride[VPX_PLANE_Y] + x] = l;
		}
	for (unsigned y = 0; y < img->d_h / 2; y++)
		for (unsigned x = 0; x < img->d_w / 2; x++) {
			const unsigned bar = (unsigned)(2 * x * 8 / img->d_w + i / 4) % 8;
			const int disc = (2 * x - cx) * (2 * x - cx) + (2 * y - cy) * (2 * y - cy) < r * r;
			img->planes[VPX_PLANE_U][y * img->stride[VPX_PLANE_U] + x] = disc ? 70 : 60 + 40 * (bar & 3);
			img->planes[VPX_PLANE_V][y * img->stride[VPX_PLANE_V] + x] = disc ? 200 : 70 + 50 * (bar >> 1);
		}
}

static void encode_video(const char *dir, const struct layer *l) {
	char path[4096];
	vpx_codec_enc_cfg_t cfg;
	vpx_codec_ctx_t codec;
	vpx_image_t *img = vpx_img_alloc(NULL, VPX_IMG_FMT_I420, l->width, l->height, 1);
	if (!img || vpx_codec_enc_config_default(vpx_codec_vp8_cx(), &cfg, 0)) die("configuration");
	cfg.g_w = l->width;
	cfg.g_h = l->height;
	cfg.g_timebase.num = 1;
	cfg.g_timebase.den = FPS;
	cfg.g_threads = 1;
	cfg.g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
	cfg.g_lag_in_frames = 0;
	cfg.rc_end_usage = VPX_CBR;
	cfg.rc_target_bitrate = l->kbps;
	cfg.rc_dropframe_thresh = 0;
	cfg.rc_min_quantizer = 4;
	cfg.rc_max_quantizer = 56;
	cfg.rc_buf_sz = 1000;
	cfg.rc_buf_initial_sz = 500;
	cfg.rc_buf_optimal_sz = 600;
	cfg.kf_mode = VPX_KF_DISABLED;
	if (vpx_codec_enc_init(&codec, vpx_codec_vp8_cx(), &cfg, 0)) die("encoder");
	vpx_codec_control(&codec, VP8E_SET_CPUUSED, -4);
	vpx_codec_control(&codec, VP8E_SET_NOISE_SENSITIVITY, 0);
	vpx_codec_control(&codec, VP8E_SET_TOKEN_PARTITIONS, 0);
	vpx_codec_control(&codec, VP8E_SET_MAX_INTRA_BITRATE_PCT, 900);

	snprintf(path, sizeof path, "%s/%s.ivf", dir, l->name);
	FILE *f = fopen(path, "wb");
	if (!f) die("output");
	ivf_header(f, "VP80", l->width, l->height, FPS, 1, FRAMES);
	for (int i = 0; i < FRAMES; i++) {
		const struct step *s = &pattern[i % PERIOD];
		vpx_codec_iter_t it = NULL;
		const vpx_codec_cx_pkt_t *p;
		draw(img, i);
		if (vpx_codec_encode(&codec, img, i, 1, i ? s->flags : VPX_EFLAG_FORCE_KF, VPX_DL_REALTIME)) die("encode");
		int got = 0;
		while ((p = vpx_codec_get_cx_data(&codec, &it)))
			if (p->kind == VPX_CODEC_CX_FRAME_PKT) {
				if (!!(p->data.frame.flags & VPX_FRAME_IS_KEY) != (i == 0)) die("unexpected frame type");
				ivf_frame(f, p->data.frame.buf, p->data.frame.sz, i);
				got++;
			}
		if (got != 1) die("not one frame per picture");
	}
	fclose(f);
	vpx_codec_destroy(&codec);
	vpx_img_free(img);
}

static void encode_audio(const char *dir) {
	char path[4096];
	int err;
	OpusEncoder *enc = opus_encoder_create(48000, 1, OPUS_APPLICATION_VOIP, &err);
	if (err != OPUS_OK) die("opus");
	opus_encoder_ctl(enc, OPUS_SET_BITRATE(24000));
	opus_encoder_ctl(enc, OPUS_SET_COMPLEXITY(5));
	snprintf(path, sizeof path, "%s/voice.ivf", dir);
	FILE *f = fopen(path, "wb");
	if (!f) die("output");
	ivf_header(f, "OPUS", 0, 0, 50, 1, AUDIO_FRAMES);
	for (int i = 0; i < AUDIO_FRAMES; i++) {
		opus_int16 pcm[AUDIO_SAMPLES];
		uint8_t out[1500];
		for (int k = 0; k < AUDIO_SAMPLES; k++) {
			const double t = (i * AUDIO_SAMPLES + k) / 48000.0;
			/* Four syllables a second: a 140 Hz voice with vibrato, its harmonics shaped by two formants. */
			const double envelope = 0.5 - 0.5 * cos(2 * pi * 4 * t), phase = 2 * pi * 140 * t + 1.5 * sin(2 * pi * 5 * t);
			double v = 0;
			for (int h = 1; h <= 20; h++) {
				const double hz = 140.0 * h;
				const double gain = exp(-pow((hz - 600) / 250, 2)) + 0.5 * exp(-pow((hz - 1400) / 300, 2)) + 0.05;
				v += gain * sin(h * phase);
			}
			pcm[k] = (opus_int16)(4000 * envelope * v / 2);
		}
		const int n = opus_encode(enc, pcm, AUDIO_SAMPLES, out, sizeof out);
		if (n <= 0) die("opus encode");
		ivf_frame(f, out, n, i);
	}
	fclose(f);
	opus_encoder_destroy(enc);
}

static void write_json(const char *dir) {
	char path[4096];
	snprintf(path, sizeof path, "%s/clip.json", dir);
	FILE *f = fopen(path, "w");
	if (!f) die("output");
	fprintf(f, "{\n  \"generator\": \"%s, %s\",\n", vpx_codec_iface_name(vpx_codec_vp8_cx()), opus_get_version_string());
	fprintf(f, "  \"frames_per_second\": %d,\n  \"layers\": [\n", FPS);
	for (int i = 0; i < 3; i++)
		fprintf(f, "    {\"rid\": \"%s\", \"file\": \"%s.ivf\", \"width\": %d, \"height\": %d}%s\n", layers[i].name, layers[i].name,
		        layers[i].width, layers[i].height, i < 2 ? "," : "");
	fprintf(f, "  ],\n  \"pattern\": [\n");
	for (int i = 0; i < PERIOD; i++)
		fprintf(f, "    {\"tid\": %d, \"refs\": \"%s\", \"updates\": \"%s\"}%s\n", pattern[i].tid, pattern[i].refs, pattern[i].updates,
		        i < PERIOD - 1 ? "," : "");
	fprintf(f, "  ],\n  \"audio\": {\"file\": \"voice.ivf\", \"frames_per_second\": 50}\n}\n");
	fclose(f);
}

int main(int argc, char **argv) {
	if (argc != 2) die("usage: clipgen <directory>");
	for (int i = 0; i < 3; i++) encode_video(argv[1], &layers[i]);
	encode_audio(argv[1]);
	write_json(argv[1]);
	return 0;
}
