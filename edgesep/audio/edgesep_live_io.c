/* The callbacks of the live loop; see edgesep_live_io.h. */
#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif

#include "edgesep_live_io.h"

#include <string.h>
#include <time.h>
#if !defined(_WIN32)
#include <unistd.h>
#endif

#define NO_BELL (-1)

#if defined(__GNUC__)
#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define STORE(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELEASE)
#else /* MSVC, where volatile means as much */
#define LOAD(place) (*(const volatile uint32_t *)&(place))
#define STORE(place, value) (*(volatile uint32_t *)&(place) = (value))
#endif

/* --- the ring ----------------------------------------------------------------------------------
 */

static int32_t between(const edgesep_ring *ring, uint32_t written, uint32_t taken) {
    const uint32_t size = (uint32_t)ring->capacity;
    return (int32_t)(written >= taken ? written - taken : written + 2 * size - taken);
}

static uint32_t moved(const edgesep_ring *ring, uint32_t place, int32_t frames) {
    const uint32_t size = (uint32_t)ring->capacity, sum = place + (uint32_t)frames;
    return sum >= 2 * size ? sum - 2 * size : sum;
}

int32_t edgesep_ring_available(const edgesep_ring *ring) {
    return between(ring, LOAD(ring->written), LOAD(ring->taken));
}

int32_t edgesep_ring_write(edgesep_ring *ring, const int16_t *block, int32_t frames) {
    const int32_t room = ring->capacity - between(ring, ring->written, LOAD(ring->taken));
    const int32_t count = frames < room ? frames : room;
    const int32_t start = (int32_t)(ring->written % (uint32_t)ring->capacity);
    const int32_t first = count < ring->capacity - start ? count : ring->capacity - start;
    const size_t channels = (size_t)ring->channels;
    const size_t frame_bytes = channels * sizeof *block;
    memcpy(ring->frames + (size_t)start * channels, block, (size_t)first * frame_bytes);
    memcpy(ring->frames, block + (size_t)first * channels, (size_t)(count - first) * frame_bytes);
    STORE(ring->written, moved(ring, ring->written, count));
    return count;
}

int32_t edgesep_ring_read(edgesep_ring *ring, int16_t *block, int32_t frames) {
    const int32_t available = between(ring, LOAD(ring->written), ring->taken);
    const int32_t count = frames < available ? frames : available;
    const int32_t start = (int32_t)(ring->taken % (uint32_t)ring->capacity);
    const int32_t first = count < ring->capacity - start ? count : ring->capacity - start;
    const size_t channels = (size_t)ring->channels;
    const size_t frame_bytes = channels * sizeof *block;
    if (block != NULL) {
        memcpy(block, ring->frames + (size_t)start * channels, (size_t)first * frame_bytes);
        memcpy(block + (size_t)first * channels, ring->frames,
               (size_t)(count - first) * frame_bytes);
    }
    STORE(ring->taken, moved(ring, ring->taken, count));
    return count;
}

/* --- in ----------------------------------------------------------------------------------------
 */

int edgesep_inlet_call(const void *input, void *output, unsigned long frames, const void *times,
                       unsigned long flags, void *data) {
    edgesep_inlet *inlet = data;
    const int32_t count = (int32_t)frames;
    (void)output;
    (void)times;
    if (input != NULL) {
        inlet->lost_frames += count - edgesep_ring_write(&inlet->ring, input, count);
    }
    inlet->overflows += flags != 0;
    inlet->blocks++;
#if !defined(_WIN32)
    if (inlet->bell != NO_BELL && write(inlet->bell, "", 1) < 0) {
        /* the pipe is full, so whoever waits has been told */
    }
#endif
    return 0;
}

/* --- out ---------------------------------------------------------------------------------------
 */

uint32_t edgesep_now_us(void) {
#if defined(_WIN32)
    return 0;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec * 1000000U + (uint32_t)(now.tv_nsec / 1000);
#endif
}

static void fade_in(edgesep_outlet *outlet, int16_t *block, int32_t got) {
    const int32_t channels = outlet->ring.channels;
    if (outlet->dry) {
        outlet->dry = 0;
        outlet->risen = 0;
    }
    for (int32_t i = 0; i < got && outlet->risen < outlet->repair; i++, outlet->risen++) {
        for (int32_t c = 0; c < channels; c++) {
            int16_t *sample = &block[i * channels + c];
            *sample = (int16_t)((float)*sample * outlet->rising[outlet->risen]);
        }
    }
}

static void fill_hole(edgesep_outlet *outlet, int16_t *block, int32_t got, int32_t frames) {
    const int32_t channels = outlet->ring.channels;
    memset(block + (size_t)got * (size_t)channels, 0,
           (size_t)(frames - got) * (size_t)channels * sizeof *block);
    if (!outlet->dry) {
        outlet->starvations += !outlet->ending;
        outlet->dry = 1;
        outlet->fallen = 0;
        for (int32_t c = 0; c < channels && got > 0; c++) {
            outlet->last[c] = block[(got - 1) * channels + c];
        }
    }
    for (int32_t i = got; i < frames && outlet->fallen < outlet->repair; i++, outlet->fallen++) {
        for (int32_t c = 0; c < channels; c++) {
            block[i * channels + c] = (int16_t)(outlet->last[c] * outlet->falling[outlet->fallen]);
        }
    }
}

/* Note the least sound that would have been left, had the blocks come evenly and at their worst
 * phase. */
static void note_headroom(edgesep_outlet *outlet, uint32_t now_us) {
    const int64_t since_us = now_us - outlet->written_at_us;
    const int64_t since = since_us * outlet->rate_hz / 1000000;
    const int32_t step = outlet->step_frames;
    const int32_t left =
        edgesep_ring_available(&outlet->ring) + (int32_t)(since < step ? since : step) - step;
    if (left < outlet->headroom_frames) {
        outlet->headroom_frames = left;
    }
}

int edgesep_outlet_call(const void *input, void *output, unsigned long frames, const void *times,
                        unsigned long flags, void *data) {
    edgesep_outlet *outlet = data;
    const int32_t count = (int32_t)frames, channels = outlet->ring.channels;
    const uint32_t now_us = edgesep_now_us();
    int16_t *block = output;
    (void)input;
    (void)times;
    const int waits = outlet->dry && edgesep_ring_available(&outlet->ring) < outlet->refill_frames;
    const int32_t got = waits ? 0 : edgesep_ring_read(&outlet->ring, block, count);
    if (got > 0) {
        fade_in(outlet, block, got);
    }
    if (got < count) {
        fill_hole(outlet, block, got, count);
    } else if (count > 0) {
        note_headroom(outlet, now_us);
        for (int32_t c = 0; c < channels; c++) {
            outlet->last[c] = block[(count - 1) * channels + c];
        }
    }
    outlet->late_requests += outlet->blocks > 0 && !outlet->dry &&
                             (int32_t)(now_us - outlet->asked_at_us) > outlet->patience_us;
    outlet->asked_at_us = now_us;
    outlet->underflows += flags != 0;
    outlet->blocks++;
    return 0;
}
