// The powers of two that a vector exponential starts from where two registers hold 32 numbers.
#pragma once
#include <stdint.h>

// C 2^(j / 32) less j << 18, as bits: adding n << 18 gives C 2^(n / 32) for the n whose low bits are j. With r in
// -0.5...0.5, C (r (r + b) + c) is 2^(r / 32) to 1e-7.
#define BRAID_POWERS_B 92.335312f
#define BRAID_POWERS_C 4262.7744f
static const uint32_t braid_powers[32] __attribute__((aligned(64), unused)) = {
    0x3975fc02, 0x39775eea, 0x39787002, 0x39773ffd, 0x39761fbb, 0x39750f96, 0x39740fe7, 0x3973210c,
    0x39724361, 0x39717748, 0x3970bd24, 0x39701558, 0x396f804c, 0x396efe68, 0x396e9018, 0x396e35cb,
    0x396defef, 0x396dbef8, 0x396da35b, 0x396d9d8f, 0x396dae0e, 0x396dd557, 0x396e13e8, 0x396e6a43,
    0x396ed8f0, 0x396f6074, 0x3970015d, 0x3970bc38, 0x39719196, 0x3972820d, 0x39738e34, 0x3974b6a6,
};
