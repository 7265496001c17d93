/* The Ethos-U by Arm's core driver; see edgesep_ethosu.h. */
#include "edgesep_ethosu.h"

#include <ethosu_driver.h>
#include <stddef.h>

#include "edgesep_status.h"

static struct ethosu_driver driver;

int edgesep_ethosu_start(void *base_address) {
    /* No fast memory: Vela has put all activations into TFLM's arena. Secure and privileged, as
     * a Cortex-M is after its reset. */
    const int failed = ethosu_init(&driver, base_address, NULL, 0, 1, 1);
    return failed == 0 ? EDGESEP_OK : EDGESEP_NOT_READY;
}

void edgesep_ethosu_interrupt(void) {
    ethosu_irq_handler(&driver);
}
