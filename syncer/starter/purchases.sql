/* sync
description: The orders that customers paid, each sent once, such as to thank them
owner: growth
tags: [shop]
entity: event
person: {id: customer_id}
event: {name: order_paid, id: order_id, time: ordered_at}
start: all
schedule: every 1 hour
*/
SELECT
    order_id,
    customer_id,
    ordered_at,
    order_total,
    coupon_code
FROM orders
WHERE status = 'paid'
