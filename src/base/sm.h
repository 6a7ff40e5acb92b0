/* State machines as tables: each state names the states that may follow it, and an invariant is
 * checked after every move. Embed a struct sm, and move it only by sm_move.
 *
 *   static const struct sm_state states[] = {
 *       [CONN_OPEN] = {"open", SM_TO(CONN_CLOSING)},
 *       [CONN_CLOSING] = {"closing", SM_TO(CONN_CLOSED)},
 *       [CONN_CLOSED] = {"closed", 0},
 *   };
 *   sm_init(&conn->sm, states, ARRAY_LEN(states), CONN_OPEN, conn_invariant); */
#ifndef BASE_SM_H
#define BASE_SM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#define SM_TO(state) (UINT32_C(1) << (state))

struct sm_state {
    const char *name;
    uint32_t next; /* SM_TO(...) | SM_TO(...) */
};

struct sm;
/* Whether the owner is sound in the state it has just entered from `before`. */
typedef bool sm_invariant(const struct sm *sm, unsigned before);

struct sm {
    const struct sm_state *states;
    sm_invariant *invariant; /* may be NULL */
    uint8_t state_count;
    uint8_t state;
};

static inline void sm_init(struct sm *sm, const struct sm_state *states, size_t state_count,
                           unsigned state, sm_invariant *invariant)
{
    ASSERT(state_count <= 32);
    ASSERT(state < state_count);
    *sm = (struct sm){states, invariant, (uint8_t)state_count, (uint8_t)state};
    if (invariant)
        ASSERT(invariant(sm, state));
}

static inline bool sm_may_move(const struct sm *sm, unsigned to)
{
    return to < sm->state_count && (sm->states[sm->state].next & SM_TO(to)) != 0;
}

static inline void sm_move(struct sm *sm, unsigned to)
{
    ASSERT(sm_may_move(sm, to));
    unsigned before = sm->state;
    sm->state = (uint8_t)to;
    if (sm->invariant)
        ASSERT(sm->invariant(sm, before));
}

static inline const char *sm_name(const struct sm *sm)
{
    return sm->states[sm->state].name;
}

#endif
