/* sync
description: Our customers and what they have bought
owner: growth
tags: [shop]
entity: person
person: {id: customer_id}
schedule: every 1 hour
*/
WITH paid AS (
    SELECT
        customer_id,
        count(*) AS orders,
        sum(order_total) AS total,
        max(ordered_at) AS last_at
    FROM orders
    WHERE status = 'paid'
    GROUP BY customer_id
)
SELECT
    customer_id,
    email,
    first_name,
    last_name,
    country,
    signed_up_at,
    marketing_consent,
    coalesce(paid.orders, 0) AS order_count,
    coalesce(paid.total, 0) AS lifetime_value,
    paid.last_at AS last_order_at
FROM customers
LEFT JOIN paid USING (customer_id)
